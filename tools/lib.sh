# SPDX-License-Identifier: MIT
# Shared by the commands in tools/: where things are, and how missing packages are installed.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export O=${O:-$root/build}

# die SENTENCE: a usage or environment error.
die() {
	echo "${0##*/}: $*" >&2
	exit 2
}

# need PACKAGE...: installs those of Debian's packages that are missing, or says which they are.
need() {
	local missing=() package
	for package in "$@"; do
		dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null |
			grep -qx installed || missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	if ! command -v apt-get >/dev/null; then
		die "this is no Debian; what is needed are (Debian's names) ${missing[*]}"
	fi
	local as_root=()
	if [ "$(id -u)" -ne 0 ]; then
		command -v sudo >/dev/null ||
			die "not root, and no sudo; please install ${missing[*]}"
		as_root=(sudo)
	fi
	echo "installing ${missing[*]}" >&2
	mkdir -p "$O"
	{ "${as_root[@]}" apt-get update &&
		"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
			apt-get install -y --no-install-recommends "${missing[@]}"; } \
		>"$O/apt.log" 2>&1 || die "could not install ${missing[*]}; see $O/apt.log"
}

# one_of WORD CHOICE...: whether it is one of them.
one_of() {
	local word=$1 choice
	shift
	for choice in "$@"; do
		[ "$word" != "$choice" ] || return 0
	done
	return 1
}

# number NAME VALUE LOW HIGH: dies unless VALUE is a decimal number in that range.
number() {
	[[ $2 =~ ^[0-9]{1,18}$ ]] && [ "$2" -ge "$3" ] && [ "$2" -le "$4" ] ||
		die "$1 takes a number from $3 to $4, not '$2'"
}
