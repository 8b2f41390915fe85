/** The browser asks before it throws sound away that is not written down yet. */

export const askBeforeLeaving = (): void => addEventListener("beforeunload", ask);
export const leaveFreely = (): void => removeEventListener("beforeunload", ask);

function ask(event: BeforeUnloadEvent): void {
  event.preventDefault();
}
