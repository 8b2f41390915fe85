/** From what is chosen to what is asked of the server. */

import { chosenModel } from "./server.ts";
import { settings } from "./settings.ts";
import type { Wish } from "../wire/transcribe.ts";

/** What is wished for now, as far as the chosen model can do it. */
export function wishNow(): Wish {
  const { language, translateTo, speakers, keywords } = settings.value;
  const model = chosenModel.value;
  const able = model?.lithophone;
  const target = able?.translates_to.includes(translateTo) ? translateTo : "";
  return {
    model: model?.id ?? "",
    language: able?.languages.includes(language) ? language : "",
    translateTo: target,
    speakers: speakers && able?.speakers === true && !target,
    keywords: able?.keywords ? keywords.split(",").map((word) => word.trim()).filter(Boolean) : [],
  };
}

const names = new Intl.DisplayNames(["en"], { type: "language" });

/** `German` for `de`. */
export const languageName = (code: string): string => names.of(code) ?? code;
