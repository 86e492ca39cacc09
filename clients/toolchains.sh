#!/usr/bin/env bash
# Installs the Debian packages that the clients need, by their apt.txt, as root where apt works. It never fails: what it
# could not install it says, and the clients that need it are skipped by their build.sh.
#   clients/toolchains.sh [LANGUAGE...]
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
declare -A wanted=()
for file in */apt.txt; do
  [[ -f $file && ($# == 0 || " $* " == *" ${file%/apt.txt} "*) ]] || continue
  while read -r package; do
    dpkg-query --show --showformat='${db:Status-Status}' "$package" 2> /dev/null | grep -qx installed \
      || wanted[$package]=1
  done < <(sed 's/#.*//' "$file" | tr -s '[:space:]' '\n' | grep .)
done
[[ ${#wanted[@]} == 0 ]] && exit 0

if [[ $EUID != 0 ]] || ! command -v apt-get > /dev/null; then
  echo "not installed, since this needs apt and root: ${!wanted[*]}"
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
timeout 120 apt-get update -qq || echo "apt-get update failed"
if ! timeout 400 apt-get install -y -qq --no-install-recommends "${!wanted[@]}" > /dev/null; then
  for package in "${!wanted[@]}"; do # one that is not to be had must not keep the others out
    timeout 200 apt-get install -y -qq --no-install-recommends "$package" > /dev/null || echo "not installed: $package"
  done
fi
exit 0
