/** What the server says about itself and its models. */

import { addressOf } from "./address.ts";
import { refusal } from "./failures.ts";
import { authorization } from "./key.ts";

/** `GET /` as JSON. */
export interface Welcome {
  readonly version: string;
  readonly model: string;
  readonly max_upload_bytes: number;
  readonly needs_key: boolean;
  readonly realtime: boolean;
}

export type ModelState = "cold" | "loading" | "ready" | "restarting" | "failed" | "stopped";

/** A model object of `GET /v1/models`. */
export interface Model {
  readonly id: string;
  readonly lithophone: {
    readonly alias_of: string | null;
    readonly languages: readonly string[];
    readonly translates_to: readonly string[];
    readonly speakers: boolean;
    readonly keywords: boolean;
    readonly parameters: number;
    readonly state: ModelState;
    readonly memory_bytes: number | null;
    readonly device: string | null;
    readonly note: string | null;
    readonly stands_for: string | null;
  };
}

export const welcome = (): Promise<Welcome> => asked<Welcome>("");

/** The served models, without the aliases. */
export async function models(): Promise<Model[]> {
  const list = await asked<{ data: Model[] }>("v1/models");
  return list.data.filter((model) => model.lithophone.alias_of === null);
}

/** Ask for a model to be loaded; answers when it is, or when the server has waited long enough. */
export const load = (id: string): Promise<Model> =>
  asked<Model>(`v1/models/${id.split("/").map(encodeURIComponent).join("/")}/load`, "POST");

async function asked<Answer>(route: string, method = "GET"): Promise<Answer> {
  const response = await fetch(addressOf(route), { method, headers: { Accept: "application/json", ...authorization() } });
  if (!response.ok) {
    throw refusal(response.status, await response.text(), (name) => response.headers.get(name));
  }
  return (await response.json()) as Answer;
}
