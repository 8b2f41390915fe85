/** A button that copies, and says that it did. */

import { useState } from "preact/hooks";
import { Icon } from "./icons.tsx";

interface Props {
  readonly text: () => string;
  readonly name: string;
  /** Whether the name is shown beside the picture. */
  readonly shown?: boolean;
}

export function CopyButton({ text, name, shown = false }: Props) {
  const [copied, setCopied] = useState(false);
  const copy = async (): Promise<void> => {
    await put(text());
    setCopied(true);
    setTimeout(() => setCopied(false), 2000);
  };
  return (
    <button type="button" class={shown ? "" : "bare"} aria-label={shown ? undefined : name} title={name} onClick={() => void copy()}>
      <Icon name={copied ? "check" : "copy"} />
      {shown ? <span class="copy-name">{copied ? "Copied" : name}</span> : null}
    </button>
  );
}

/** Pages over plain HTTP have no clipboard; there a field is selected and copied, the old way. */
async function put(text: string): Promise<void> {
  if ("clipboard" in navigator) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
