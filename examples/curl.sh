#!/bin/sh
# The API with curl: every format, the stream, the models and an error.
# sh curl.sh [base_url] [audio_file]
set -eu

base_url=${1:-${LITHOPHONE_URL:-http://127.0.0.1:8000}}
audio=${2:-$(dirname "$0")/speech/demo.flac}
key=${LITHOPHONE_API_KEY:-none} # a server without keys takes any

ask() { # a path of the API, then arguments for curl
    path=$1
    shift
    curl --silent --show-error --header "Authorization: Bearer $key" "$@" "$base_url$path"
}

transcribe() { # arguments for curl
    ask /v1/audio/transcriptions --fail-with-body --form file=@"$audio" --form model=whisper-1 "$@"
}

echo "models:" && ask /v1/models --fail-with-body && echo

for format in json verbose_json text srt vtt; do
    echo "$format:" && transcribe --form response_format=$format && echo
done

echo "stream:" && transcribe --no-buffer --form stream=true

# --form reads a value that begins with < or @ from a file; --form-string sends it as it is. Use it for
# text that is not yours, such as a prompt or the keywords.
echo "form-string:" && transcribe --form-string response_format=text

echo "error:" && ask /v1/audio/transcriptions --include --form file=@"$audio" --form-string model=no-such-model && echo
