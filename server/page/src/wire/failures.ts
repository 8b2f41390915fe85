/** What can go wrong on the way to the server and back, in words for a person. */

/** The server's own error, as it stands in the body or in an `error` event. */
export class Refused extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly code: string | null,
    readonly reference?: string,
    readonly retryAfterSeconds?: number,
  ) {
    super(message);
  }
}

/** No answer, or one that broke off. */
export class Disconnected extends Error {
  constructor(readonly begun: boolean) {
    super(begun ? "The connection to the server broke off before the end." : "The server cannot be reached.");
  }
}

/** The error object of a body; what is not one says so by its status alone. */
export function refusal(status: number, body: string, header: (name: string) => string | null): Refused {
  const retry = Number.parseFloat(header("retry-after") ?? "");
  const reference = header("x-request-id") ?? undefined;
  const { message, code } = errorOf(body) ?? { message: `The server answered with status ${status}.`, code: null };
  return new Refused(message, status, code, reference, Number.isNaN(retry) ? undefined : retry);
}

/** `{"error": {"message", "code"}}`, or nothing. */
export function errorOf(body: string): { message: string; code: string | null } | undefined {
  try {
    const error = (JSON.parse(body) as { error?: { message?: unknown; code?: unknown } }).error;
    if (typeof error?.message !== "string") return undefined;
    return { message: error.message, code: typeof error.code === "string" ? error.code : null };
  } catch {
    return undefined;
  }
}
