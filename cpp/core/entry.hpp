// Writes fatbin entries and containers, byte for byte as NVIDIA's fatbinary and libnvfatbin do (docs/formats.md,
// sections 2, 3 and "writing"). Compression is the caller's: a zstd frame of the image is handed in ready-made.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fatbin.hpp"

namespace shim {

struct EntrySpec {
  std::uint16_t kind = kCubin;      // EntryKind: kPtx or kCubin
  std::uint32_t arch = 0;           // 121 for sm_121, sm_121a and sm_121f
  char suffix = 0;                  // 'a', 'f' or 0
  Bytes image;                      // the cubin; or the PTX text with its one NUL at the end
  std::optional<Bytes> compressed;  // zstd frame that decodes to `image`; absent = stored as it is
  std::string name;                 // fatbinary's --ident; empty = none
  std::string options;              // ptxas options (PTX only)
  bool debug = false;               // built with -g
};

// Entry header, name, descriptor and padded payload. The version fields, the descriptor and the flags follow from the
// image: the ABI of the cubin and its .nv.compat, or the text's .version.
// Throws std::invalid_argument when the spec contradicts itself or the image (another architecture in the cubin;
// loaders select by the header and then fail on the payload), ParseError (offset in the image) when the image is
// malformed.
std::vector<std::byte> make_entry(const EntrySpec& spec);

// Container header followed by the entries. Throws ParseError (offset in that entry) when one is not exactly an entry.
std::vector<std::byte> make_container(std::span<const Bytes> entries);

// The 16-byte header of a container whose entries take `entries_size` bytes: for callers that stream the entries.
std::vector<std::byte> make_container_header(std::uint64_t entries_size);

}  // namespace shim
