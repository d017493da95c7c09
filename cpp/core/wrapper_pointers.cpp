#include "wrapper_pointers.hpp"

#include <stdexcept>

#include "fatbin.hpp"
#include "refused.hpp"

namespace shim {
namespace {

constexpr std::uint64_t kPointerInWrapper = 8;
constexpr std::size_t kDropEvery = 32;

// Address of the pointer in the wrapper at this file offset.
std::uint64_t pointer_vaddr(const Windows& file, const Elf& elf, std::uint64_t wrapper) {
  const Bytes bytes = file.view(wrapper, kWrapperSize, "fatbin wrapper");
  if (load<std::uint32_t>(bytes.data()) != kWrapperMagic)
    throw std::invalid_argument("no fatbin wrapper at file offset " + std::to_string(wrapper));
  const auto version = load<std::uint32_t>(bytes.data() + 4);
  if (version != 1 && version != 2)
    throw RefusedError("fatbin wrapper of unknown version " + std::to_string(version), wrapper + 4);
  const auto vaddr = elf.offset_to_vaddr(wrapper, kWrapperSize);
  if (!vaddr) throw RefusedError("fatbin wrapper is in no loaded part of the file", wrapper);
  return *vaddr + kPointerInWrapper;
}

void check_target(const Windows& file, const Elf& elf, const WrapperPointer& pointer) {
  if (elf.header.type == ET_DYN && pointer.now.how == SlotKind::InPlace)
    throw RefusedError("wrapper pointer of a relocatable file has no relocation", pointer.offset);
  const auto target = elf.vaddr_to_offset(pointer.now.target, kContainerHeaderSize);
  if (!target) throw RefusedError("wrapper points outside the loaded parts of the file", pointer.offset);
  if (file.at<std::uint32_t>(*target, "fatbin container") != kContainerMagic)
    throw RefusedError("wrapper does not point to a fatbin container", pointer.offset);
}

}  // namespace

std::vector<WrapperPointer> resolve_wrapper_pointers(const Windows& file, const Elf& elf, const ElfDynamic& dynamic,
                                                     std::span<const std::uint64_t> wrappers,
                                                     const std::function<void()>& drop) {
  std::vector<std::uint64_t> vaddrs;
  vaddrs.reserve(wrappers.size());
  for (const std::uint64_t wrapper : wrappers) vaddrs.push_back(pointer_vaddr(file, elf, wrapper));
  const auto resolved = resolve_slots(file, elf, dynamic, vaddrs);
  std::vector<WrapperPointer> out;
  out.reserve(wrappers.size());
  for (std::size_t i = 0; i < wrappers.size(); ++i) {
    out.push_back({vaddrs[i], wrappers[i] + kPointerInWrapper, resolved[i]});
    check_target(file, elf, out.back());
    if (i % kDropEvery == kDropEvery - 1) drop();
  }
  return out;
}

}  // namespace shim
