// A cubin: the ELF file (e_machine 190) that holds machine code for one GPU architecture (docs/formats.md 5).
#pragma once

#include <utility>

#include "bytes.hpp"

namespace shim {

inline constexpr std::uint16_t kMachineCuda = 190;  // e_machine EM_CUDA

struct CubinSymbol {
  std::string name;
  bool function = false;  // else a data object
  bool kernel = false;    // a function that host code can launch
  std::uint64_t size = 0;
  std::vector<std::pair<std::uint16_t, std::uint32_t>> parameters;  // kernels: (ordinal, size in bytes), by ordinal
};

struct Cubin {
  unsigned abi = 0;   // ELF ABI version: 7 or 8
  unsigned arch = 0;  // SM number
  char feature = 0;   // 'a' or 0; the suffix f is not recorded in a cubin
  bool linked = false;
  std::string compat;  // contents of .nv.compat
  std::vector<CubinSymbol> symbols;
};

bool is_cubin(Bytes file);

// Throws ParseError; offsets are relative to the start of the cubin.
Cubin parse_cubin(Bytes file);

struct PtxKernel {
  std::string name;
  std::uint64_t body_size = 0;     // characters between the braces
  std::uint64_t instructions = 0;  // statements in the body that are no directive and no label
  std::vector<std::uint32_t> parameters;  // sizes in bytes, by ordinal; 0 where the type is opaque
};

struct PtxModule {
  unsigned major = 0, minor = 0;  // .version
  unsigned arch = 0;
  char feature = 0;
  std::vector<PtxKernel> kernels;
};

// Whether text, of which only the start needs to be there, has the directives that every PTX module starts with.
bool is_ptx(std::string_view start);

// Reads .version, .target and the .entry functions of PTX text. Throws ParseError when it does not start as PTX does, or
// ends inside a function.
PtxModule parse_ptx(std::string_view text);

}  // namespace shim
