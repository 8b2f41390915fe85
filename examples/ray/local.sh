#!/usr/bin/env bash
# Two Ray nodes on this machine and a server whose model has a replica on each: what a cluster does, before there is one.
# Needs `pip install 'lithophone[ray]'`; further arguments are the server's, as in `./local.sh --model granite-speech-4.1-2b`.
set -euo pipefail
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token
ray get-auth-token --generate > /dev/null # once, into ~/.ray: nobody else may use these nodes
port=${RAY_PORT:-6399}
node=(--node-ip-address 127.0.0.1 --num-cpus 2 --object-store-memory 200000000 --log-color false)
trap 'ray stop' EXIT

ray start --head --port "$port" --include-dashboard false "${node[@]}"
ray start --address "127.0.0.1:$port" "${node[@]}"
lithophone serve --hosts ray --ray-address "127.0.0.1:$port" --ray-min-replicas 2 --ray-max-replicas 2 "$@"
