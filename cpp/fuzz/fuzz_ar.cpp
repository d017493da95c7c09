// ar archives: the input is what follows the magic. A stream gives what a mapping gives, and an archive holds what its
// members hold when they are read one by one.
#include <cstring>

#include "fuzz.hpp"

namespace shim::fuzz {
namespace {

constexpr char kMagic[] = "!<arch>\n";
constexpr std::size_t kHeader = 60;

// Offsets of the containers of all members. Only for archives that the reader took, so the sizes are good.
std::vector<std::uint64_t> containers_one_by_one(Bytes file) {
  std::vector<std::uint64_t> found;
  for (std::size_t at = 8; at + kHeader <= file.size();) {
    char digits[11] = {};
    std::memcpy(digits, file.data() + at + 48, 10);
    const std::size_t size = std::strtoull(digits, nullptr, 10);
    const Bytes member = file.subspan(at + kHeader, size);
    const bool nested = size >= 8 && std::memcmp(member.data(), kMagic, 8) == 0;
    if (!nested) {
      const Report report = Scan::of_mapping(member, "", [](Bytes) {});
      for (const ContainerInfo& c : report.containers) found.push_back(c.found.offset + at + kHeader);
    }
    at += kHeader + size + size % 2;
  }
  return found;
}

}  // namespace
}  // namespace shim::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace shim::fuzz;
  const Input input(data, size);
  std::vector<std::byte> file(8);
  std::memcpy(file.data(), kMagic, 8);
  file.insert(file.end(), input.file.begin(), input.file.end());
  shim::Report report;
  const std::string mapped = read_mapped(file, input.name(), &report);
  const std::string streamed = read_streamed(file, input.name(), input.seed);
  if (mapped != streamed) std::fprintf(stderr, "mapped:   %s\nstreamed: %s\n", mapped.c_str(), streamed.c_str());
  check(mapped == streamed, "a stream gives what a mapping gives");
  if (report.format == shim::Format::kArchive) {
    const auto expected = containers_one_by_one(file);
    check(expected.size() == report.containers.size(), "an archive holds what its members hold");
    for (std::size_t i = 0; i < expected.size(); ++i) {
      check(report.containers[i].found.offset == expected[i], "containers of members keep their place");
    }
  }
  return 0;
}
