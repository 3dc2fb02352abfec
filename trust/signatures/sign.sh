#!/bin/sh
# Signs what is in this kit with gpg alone, and packs the signatures beside it:
#   sh sign.sh FINGERPRINT
# Run it again after an interruption: what is signed already is not signed again.
set -eu
LC_ALL=C
export LC_ALL

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

key=${1-}
case $key in
*[!0-9A-Fa-f]*) key= ;;
esac
if [ ${#key} -ne 40 ] && [ ${#key} -ne 64 ]; then
  fail "usage: sh sign.sh FINGERPRINT (all its 40 or 64 hex digits, without spaces: gpg --list-secret-keys)"
fi
command -v gpg >/dev/null || fail "gpg is not on this machine"

cd "$(dirname "$0")"
# A pinentry in the terminal has to know which one it is.
if terminal=$(tty); then
  GPG_TTY=$terminal
  export GPG_TTY
fi

mkdir -p signatures
total=0
for payload in payloads/*.json; do
  [ -f "$payload" ] || fail "there is nothing to sign in $(pwd)/payloads"
  total=$((total + 1))
done

number=0
for payload in payloads/*.json; do
  number=$((number + 1))
  name=${payload#payloads/}
  signature=signatures/${name%.json}.sig
  if [ -f "$signature" ]; then
    continue
  fi
  # What is signed is shown, and nothing in it can steer the terminal.
  printf '%s of %s: %s\n' "$number" "$total" "$(tr -cd '[:print:]' <"$payload")"
  rm -f "$signature.new"
  gpg --batch --no-armor --no-textmode --digest-algo SHA512 --compress-algo none \
    --default-sig-expire 0 --no-ask-sig-expire --local-user "$key!" --output "$signature.new" --sign "$payload" ||
    fail "stopped at $number of $total; run it again to go on from there"
  gpg --batch --quiet --verify "$signature.new" 2>/dev/null ||
    fail "the signature of $name that gpg just made does not verify; nothing is kept of it"
  mv "$signature.new" "$signature"
done

rm -f ../signed.tar.new
tar -cf ../signed.tar.new payloads signatures
mv ../signed.tar.new ../signed.tar
printf '%s signed: take %s back, and there: stagex sign import signed.tar\n' "$total" "$(cd .. && pwd)/signed.tar"
