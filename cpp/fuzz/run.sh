#!/bin/sh
# Builds the fuzz targets with clang and runs each for a number of seconds, one after the other.
#
#     cpp/fuzz/run.sh [--install] SECONDS [TARGET...]
#
# Inputs that break a target are kept in build/fuzz/finds. The last line says how many targets passed; the exit code is 1
# when one did not. Missing Debian packages are named, and installed with --install (as root). JOBS (default 1) is the
# number of compile jobs.
set -eu

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
build=$root/build/fuzz
targets="scan elf fatbin cubin ptx ar rewrite"

install=no
if [ "${1-}" = --install ]; then
  install=yes
  shift
fi
case "${1-}" in
'' | *[!0-9]*)
  echo "usage: cpp/fuzz/run.sh [--install] SECONDS [TARGET...]   (targets: $targets)" >&2
  exit 2
  ;;
esac
seconds=$1
shift
[ $# -eq 0 ] || targets=$*

# A clang++ that can link libFuzzer: its runtime is a package of its own in Debian.
find_clang() {
  for candidate in ${CXX-} clang++ clang++-22 clang++-21 clang++-20 clang++-19 clang++-18 clang++-17 clang++-16 \
    clang++-15 clang++-14; do
    command -v "$candidate" >/dev/null 2>&1 || continue
    if echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' |
      "$candidate" -x c++ -std=c++20 -fsanitize=fuzzer,address,undefined -o /dev/null - 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
}

packages="clang libclang-rt-dev cmake make"
clang=$(find_clang)
if [ -z "$clang" ] || ! command -v cmake >/dev/null 2>&1; then
  if [ $install = yes ]; then
    apt-get update && apt-get install -y --no-install-recommends $packages
    clang=$(find_clang)
  fi
  if [ -z "$clang" ] || ! command -v cmake >/dev/null 2>&1; then
    echo "No clang++ that links libFuzzer, or no cmake, was found. On Debian: apt-get install $packages" >&2
    exit 6
  fi
fi

cmake -S "$root" -B "$build" -DSHIM_FUZZ=ON -DSHIM_WERROR=ON -DCMAKE_BUILD_TYPE= -DCMAKE_CXX_COMPILER="$clang" >/dev/null
cmake --build "$build" --parallel "${JOBS-1}" >"$build/build.log" 2>&1 || {
  cat "$build/build.log" >&2
  exit 6
}
echo "$("$clang" --version | head -n 1), $(uname -m)"

mkdir -p "$build/finds"
passed=0
failed=0
for target in $targets; do
  work=$build/corpus/$target
  log=$build/$target.log
  mkdir -p "$work"
  status=passed
  "$build/cpp/fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=8192 \
    -print_final_stats=1 -artifact_prefix="$build/finds/$target-" "$work" "$here/corpus/$target" >"$log" 2>&1 ||
    status=FAILED
  if [ $status = passed ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  rss=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
  coverage=$(sed -n 's/.* cov: \([0-9]*\) ft: \([0-9]*\) corp: \([0-9]*\).*/\1 edges, \2 features, \3 inputs kept/p' "$log" | tail -n 1)
  echo "$target: $status, ${executions:-?} executions in $seconds s, $coverage, peak ${rss:-?} MB"
  [ $status = passed ] || tail -n 40 "$log" >&2
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
