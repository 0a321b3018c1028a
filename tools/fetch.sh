# SPDX-License-Identifier: MIT
# Packages of other Debian suites, unpacked into the build folder through a private apt
# configuration: what is installed on this machine stays as it is. Comes after lib.sh.
# shellcheck shell=bash

# apt_private DIR ARCH SUITE...: an apt of its own in DIR, with the machine's mirror and keys.
apt_private() {
	local dir=$1 arch=$2 suite mirror key=/usr/share/keyrings/debian-archive-keyring.gpg
	shift 2
	command -v apt-get >/dev/null || die "no apt-get here, so nothing can be fetched"
	[ -f "$key" ] || die "the keys of Debian's archive are not here: $key"
	mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' |
		awk '$2 ~ /^(bookworm|trixie|stable)$/ && $1 !~ /security/ { print $1; exit }')
	[ -n "$mirror" ] || die "this machine's apt names no mirror of Debian"
	mkdir -p "$dir/state/lists/partial" "$dir/cache/archives/partial" "$dir/none"
	: >"$dir/status"
	for suite in "$@"; do
		printf 'deb [signed-by=%s] %s %s main\n' "$key" "$mirror" "$suite"
	done >"$dir/sources"
	cat >"$dir/apt.conf" <<-END
		APT::Architecture "$arch";
		APT::Architectures { "$arch"; };
		APT::Install-Recommends "false";
		APT::Get::AllowUnauthenticated "false";
		Dir::State "$dir/state";
		Dir::State::status "$dir/status";
		Dir::Cache "$dir/cache";
		Dir::Etc::sourcelist "$dir/sources";
		Dir::Etc::sourceparts "$dir/none";
		Dir::Etc::preferencesparts "$dir/none";
		Acquire::Languages "none";
		APT::Sandbox::User "root";
	END
	# Without a network it takes ten seconds to say so, not minutes.
	if ! APT_CONFIG=$dir/apt.conf apt-get -o Acquire::Retries=0 -o Acquire::http::Timeout=10 \
		-o Acquire::https::Timeout=10 update >"$dir/log" 2>&1 ||
		grep -q '^[EW]: Failed to fetch' "$dir/log"; then
		die "the package lists of $* could not be fetched; see $dir/log"
	fi
}

# apt_unpack DIR DEST PACKAGE[=VERSION|/SUITE]...: those packages, and nothing they depend on.
apt_unpack() {
	local dir=$1 dest=$2 deb
	shift 2
	rm -rf "$dir/debs"
	mkdir -p "$dir/debs" "$dest"
	(cd "$dir/debs" && APT_CONFIG=$dir/apt.conf apt-get download "$@") >>"$dir/log" 2>&1 ||
		die "could not fetch $*; see $dir/log"
	for deb in "$dir"/debs/*.deb; do
		dpkg-deb -x "$deb" "$dest" || die "could not unpack $deb"
	done
	rm -rf "$dir/debs"
}
