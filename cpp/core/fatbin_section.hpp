// The section whose containers are all written anew, and that nothing else stands in it.
#pragma once

#include "elf.hpp"

namespace shim {

// Index of the loaded segment that holds all of section number `index`, with the same distance between addresses and
// file offsets. Throws RefusedError: the section is not plain loaded data, or another segment, another section, a
// header table or the entry point stands in it.
std::size_t segment_of_section(const Windows& file, const Elf& elf, std::uint32_t index);

// Whether no segment and no section but number `index` has bytes of the file in [begin, end).
bool is_alone(const Elf& elf, std::uint64_t begin, std::uint64_t end, std::uint32_t index, std::size_t segment);

}  // namespace shim
