/** Where the server's routes are: beside this page, under whatever path a proxy puts before both. */

export const addressOf = (route: string): URL => new URL(route, document.baseURI);
