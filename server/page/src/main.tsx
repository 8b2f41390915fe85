/** Begins everything. */

import { render } from "preact";
import { endLostCaptions } from "./store/listening.ts";
import { openStore } from "./store/recordings.ts";
import { startQueue } from "./store/queue.ts";
import { watchServer } from "./store/server.ts";
import "./style/page.css";
import { App } from "./views/app.tsx";

const root = document.getElementById("page");

await openStore();
startQueue();
endLostCaptions();
void watchServer();
addEventListener("online", () => void watchServer());
document.addEventListener("visibilitychange", () => void watchServer());
if (root) render(<App />, root);
