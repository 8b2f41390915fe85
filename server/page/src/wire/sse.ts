/** Server-sent events out of text that comes in pieces. Source: https://html.spec.whatwg.org/multipage/server-sent-events.html */

export interface ServerEvent {
  readonly name: string;
  readonly data: string;
}

/** `push` text as it comes; gives the events that it completes. */
export class EventReader {
  private rest = "";

  push(text: string): ServerEvent[] {
    const blocks = (this.rest + text).split("\n\n");
    this.rest = blocks.pop() ?? "";
    return blocks.filter((block) => block !== "").map(eventOf);
  }
}

function eventOf(block: string): ServerEvent {
  let name = "message";
  const data: string[] = [];
  for (const line of block.split("\n")) {
    const [field, value] = cut(line);
    if (field === "event") name = value;
    if (field === "data") data.push(value);
  }
  return { name, data: data.join("\n") };
}

function cut(line: string): [string, string] {
  const at = line.indexOf(":");
  if (at < 0) return [line, ""];
  return [line.slice(0, at), line.slice(at + 1).replace(/^ /u, "")];
}
