# shellcheck shell=dash
#
# Compiles the executable and the program for jobs, static and as small as this machine's compilers can. install.sh reads
# this file, unless it is given an executable.

# Sets BUILT to the path of the executable, by the first way that works here (--how), for the processor in TARGET.
compile() {
	local how
	TARGET_DIR=${CARGO_TARGET_DIR:-$SOURCE/target}
	case ${TARGET:-$(uname -m)} in
	x86_64) TRIPLE=x86_64-unknown-linux-musl ;;
	aarch64 | arm64) TRIPLE=aarch64-unknown-linux-musl ;;
	armv7 | armv7l) TRIPLE=armv7-unknown-linux-musleabihf ;;
	*) fail "unknown processor: ${TARGET:-$(uname -m)}. Use x86_64, aarch64 or armv7" ;;
	esac
	# The C library decides how long a start takes. musl never asks the processor for its features; glibc does so 68
	# times, and in a virtual machine each time traps to the hypervisor. Rust's standard library is half as large if
	# built from source. The program is always static, so it runs on any image with this processor.
	for how in ${HOW:-sources prebuilt debian glibc}; do
		case $how in
		sources) choose_sources || continue ;;
		prebuilt) choose_prebuilt || continue ;;
		debian) choose_debian || continue ;;
		glibc) choose_glibc || continue ;;
		*) fail "unknown value for --how: $how. Use sources, prebuilt, debian or glibc" ;;
		esac
		run_cargo
		return 0
	done
	fail "cannot build the executable here${HOW:+ by $HOW} for $TRIPLE. Install Rust 1.89 or later with rustup" \
		"(and the target: rustup target add $TRIPLE), or give an executable with --binary"
}

# Each choose_... returns whether it works here, and sets
#   RUST       directory of cargo and rustc, with "/" at its end; empty for PATH
#   LIBRARIES  directory of their shared libraries, if not the system's
#   LINKER     the linker
#   STD        arguments for cargo to build Rust's standard library; empty for the prebuilt one
#   KIND       description for the user

# rustup's compiler, musl, and sources of Rust's standard library.
choose_sources() {
	choose_prebuilt || return 1
	[ -r "$(as_owner "${RUST}rustc" --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock" ] || return 1
	STD="-Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size"
	KIND="$TRIPLE (musl), with Rust's library from rustup's component rust-src"
}

choose_prebuilt() {
	find_rust && has_std "$TRIPLE" || return 1
	STD=
	LINKER='rust-lld'
	KIND="$TRIPLE (musl), with Rust's library as rustup has it; smaller with: rustup component add rust-src"
}

# Debian's compiler, sources and musl, unpacked in the target directory. Nothing is installed, and Rust is not needed.
choose_debian() {
	local root="$TARGET_DIR/debian"
	command -v apt-get >/dev/null && command -v dpkg >/dev/null || return 1
	if ! unpack_debian "$root"; then
		note "could not download Debian's Rust and musl, so they are not used"
		return 1
	fi
	RUST=$root/rust/usr/bin/
	LIBRARIES=$(find "$root/rust/usr/lib" -name 'lib*.so.*' -exec dirname {} + | sort -u | tr '\n' :)
	STD="-Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size"
	LINKER=${RUST}ld.lld
	KIND="$TRIPLE (musl), with the compiler and the sources of Debian's rustc-web"
}

choose_glibc() {
	find_rust || return 1
	[ -z "$TARGET" ] || [ "$TARGET" = "$(uname -m)" ] || return 1
	TRIPLE=$(as_owner "${RUST}rustc" -vV | sed -n 's/^host: //p')
	has_std "$TRIPLE" || return 1
	STD=
	LINKER=cc
	KIND="$TRIPLE (glibc). It starts several times slower than with musl: rustup target add ${TRIPLE%%-*}-unknown-linux-musl"
}

# rustup installs cargo in a home directory, and sudo's PATH does not include it.
find_rust() {
	local home
	RUST=
	LIBRARIES=
	if command -v cargo >/dev/null && command -v rustc >/dev/null; then
		return 0
	fi
	for home in "$HOME" "$(getent passwd "${SUDO_USER:-root}" | cut -d : -f 6)"; do
		if [ -x "$home/.cargo/bin/cargo" ]; then
			RUST=$home/.cargo/bin/
			return 0
		fi
	done
	return 1
}

has_std() { # has_std TARGET
	local dir
	dir=$(as_owner "${RUST}rustc" --print target-libdir --target "$1" 2>/dev/null) || return 1
	[ -d "$dir" ]
}

run_cargo() {
	local sysroot home name musl="" kept began
	sysroot=$(as_owner "${RUST}rustc" --print sysroot)
	home=$(as_owner printenv HOME)
	name=$(printf '%s' "$TRIPLE" | tr '[:lower:]-' '[:upper:]_')
	case $TRIPLE in
	*-musl*) musl=yes ;;
	esac
	set -- -C target-feature=+crt-static -C relocation-model=static ${musl:+-C link-self-contained=yes -C linker-flavor=ld.lld}
	# Unwinding tables are not needed: a panic is logged and answered, and ends the program.
	set -- "$@" -C force-unwind-tables=no
	# Do not inline code that runs once: 33 KB.
	set -- "$@" -C llvm-args=-inline-threshold=5
	# Turn repeated instruction sequences into functions, and merge equal functions: 22 KB.
	set -- "$@" -C llvm-args=-enable-machine-outliner=always ${musl:+-C link-arg=--icf=all}
	# Omit source locations from panic messages: 18 KB. Omit texts for developers (Debug), too: 4 KB. The message
	# itself stays.
	set -- "$@" ${STD:+-Z location-detail=none -Z fmt-debug=none}
	# Omit the build directory, so that the build is reproducible.
	set -- "$@" "--remap-path-prefix=$home/.cargo=cargo" "--remap-path-prefix=${CARGO_HOME:-$home/.cargo}=cargo" \
		"--remap-path-prefix=$sysroot=rust" "--remap-path-prefix=$SOURCE=." "--remap-path-prefix=$TARGET_DIR=target"
	# shellcheck disable=SC2086  # a list of words
	FLAGS=$(printf '%s\037' ${RUSTFLAGS:-} "$@")
	FLAGS=${FLAGS%?}
	kept=$TARGET_DIR/built/$TRIPLE-$CLI/$(build_digest "$FLAGS")
	if [ -d "$kept" ]; then
		BUILT=$kept/${BINARY##*/}
		say "Executable: reusing an earlier build of the same sources ($kept)"
		return 0
	fi
	say "Building the executable: $KIND"
	say "  This takes one to five minutes; cargo shows its progress below."
	began=$(date +%s)
	set -- build --release --locked --manifest-path "$SOURCE/Cargo.toml" --target "$TRIPLE" --bins
	[ "$CLI" = yes ] || set -- "$@" --no-default-features
	# shellcheck disable=SC2086  # a list of words
	as_owner env CARGO_ENCODED_RUSTFLAGS="$FLAGS" RUSTC="${RUST}rustc" "CARGO_TARGET_${name}_LINKER=$LINKER" \
		${STD:+RUSTC_BOOTSTRAP=1} "${RUST}cargo" "$@" $STD || fail "the build failed; its messages are above"
	BUILT=$TARGET_DIR/$TRIPLE/release/jidoteki-admin-api
	[ -x "$BUILT" ] || fail "the build created no executable at $BUILT"
	say "  Built in $(($(date +%s) - began)) s."
	# Keep the last build, always complete: it gets its name last. Another build of the same may have been faster.
	as_owner mkdir -p "$kept.$$"
	as_owner cp "$BUILT" "${BUILT%/*}/${JOBS_BINARY##*/}" "$kept.$$"
	as_owner mv -T "$kept.$$" "$kept" 2>/dev/null || as_owner rm -rf "$kept.$$"
	as_owner find "${kept%/*}" -mindepth 1 -maxdepth 1 ! -name "${kept##*/}*" -exec rm -rf {} +
	BUILT=$kept/${BINARY##*/}
}

# Names a build by all of its inputs: sources, compiler, flags, and cargo's arguments.
build_digest() { # build_digest FLAGS
	local file
	{
		(cd "$SOURCE" && find Cargo.toml Cargo.lock src -type f | LC_ALL=C sort | while IFS= read -r file; do
			printf '%s  %s\n' "$(digest "$file")" "$file"
		done)
		as_owner "${RUST}rustc" -vV
		printf '%s\n' "$1" "$STD" "$TRIPLE" "$LINKER" "$CLI"
	} | sha256sum | cut -d ' ' -f 1
}

# Runs one of Rust's programs as the owner of the checkout. Otherwise the owner finds files of root there, and rustup
# does not find its toolchain in the owner's home.
as_owner() {
	if [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then
		sudo -u "$SUDO_USER" -H env PATH="$PATH" LD_LIBRARY_PATH="${LIBRARIES:-}" CARGO_TARGET_DIR="$TARGET_DIR" "$@"
	else
		env LD_LIBRARY_PATH="${LIBRARIES:-}" CARGO_TARGET_DIR="$TARGET_DIR" "$@"
	fi
}

# Downloads Debian's Rust and musl, once. Called in a condition, where "set -e" is off.
unpack_debian() { # unpack_debian DIRECTORY
	local rust="$1/rust" arch musl contained packages gcc
	case $TRIPLE in
	x86_64-*) arch=amd64 musl=x86_64-linux-musl ;;
	aarch64-*) arch=arm64 musl=aarch64-linux-musl ;;
	armv7-*) arch=armhf musl=arm-linux-musleabihf ;;
	esac
	contained=$rust/usr/lib/rustlib/$TRIPLE/lib/self-contained
	[ ! -e "$contained/libunwind.a" ] || return 0
	say "Downloading Debian's Rust and musl to $1 (150 MB, once; a minute or more)"
	if [ ! -x "$rust/usr/bin/ld.lld" ]; then
		# The versions that apt would install now; these packages in any case.
		packages=$(apt-get -s -y --no-install-recommends install rustc-web cargo-web rust-web-src lld 2>/dev/null |
			sed -n 's/^Inst \([^ ]*\) .*/\1/p')
		# shellcheck disable=SC2046,SC2086  # a list of names
		fetch_debian "$1/apt" "$(dpkg --print-architecture)" "$rust" \
			$(printf '%s\n' rustc-web cargo-web rust-web-src libstd-rust-web-dev lld $packages | sort -u) || return 1
	fi
	fetch_debian "$1/apt-$arch" "$arch" "$1/$arch" musl-dev libgcc-N-dev || return 1
	gcc=$(find "$1/$arch/usr/lib/gcc" -name libgcc.a | sort -V | tail -n 1)
	gcc=${gcc%/*}
	# Laid out as by rustup, where rustc looks for it. Rust's standard library needs one that unwinds the stack, but
	# since a panic ends the program, it can be empty.
	# shellcheck disable=SC2016  # for the inner shell
	as_owner mkdir -p "$contained" &&
		as_owner cp "$1/$arch/usr/lib/$musl/crt1.o" "$1/$arch/usr/lib/$musl/crti.o" "$1/$arch/usr/lib/$musl/crtn.o" \
			"$1/$arch/usr/lib/$musl/libc.a" "$gcc/crtbegin.o" "$gcc/crtend.o" "$gcc/libgcc.a" "$contained/" &&
		as_owner sh -c 'printf "!<arch>\n" >"$1/libunwind.a"' sh "$contained"
}

# Unpacks packages of any architecture, with apt's sources and keys, without changing apt's state. N in a package name
# stands for the highest available number.
fetch_debian() { # fetch_debian STATE ARCHITECTURE TO PACKAGE...
	local state="$1" arch="$2" to="$3"
	shift 3
	# shellcheck disable=SC2016  # for the inner shell
	as_owner mkdir -p "$state/lists/partial" "$state/archives/partial" "$state/deb" "$to" &&
		as_owner sh -c '
			state=$1 arch=$2 to=$3
			shift 3
			: >"$state/status"
			apt() {
				local program="$1"
				shift
				"$program" -q -q -o Dir::State="$state" -o Dir::State::status="$state/status" -o Dir::Cache="$state" \
					-o APT::Architecture="$arch" -o APT::Architectures="$arch" -o APT::Sandbox::User= \
					-o Debug::NoLocking=1 "$@"
			}
			# A source that is unreachable may not be needed.
			apt apt-get update || :
			for package; do
				shift
				case $package in
				*-N-*) package=$(apt apt-cache pkgnames "${package%%N*}" | grep -x "${package%%N*}[0-9]*${package#*N}" | sort -V | tail -n 1) ;;
				esac
				set -- "$@" "$package"
			done
			cd "$state/deb" && apt apt-get download "$@" || exit 1
			for deb in ./*.deb; do
				dpkg -x "$deb" "$to" || exit 1
			done
			cd / && rm -rf "$state"
		' sh "$state" "$arch" "$to" "$@"
}
