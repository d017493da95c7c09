// The whole reader: any file, in any chunks. A stream must give what a mapping gives, errors included.
#include "fuzz.hpp"

namespace shim::fuzz {
namespace {

void check_report(const Report& report, Bytes file) {
  std::uint64_t end = 0;
  for (const ContainerInfo& c : report.containers) {
    check(c.found.offset >= end, "containers ascend and do not overlap");
    end = c.found.offset + c.found.size;
    if (report.format != Format::kArchive) check_container(c.found, file);
  }
  std::vector<bool> grouped(report.containers.size());
  for (const GroupInfo& g : report.groups) {
    for (const std::uint64_t member : g.members) {
      check(member < grouped.size() && !grouped[member], "each container is in one group");
      grouped[member] = true;
      check(report.containers[member].found.entries.size() == g.stored.size(), "containers of a group have the same images");
    }
  }
  for (const bool in_group : grouped) check(in_group, "each container is in a group");
  for (const WrapperInfo& w : report.wrappers) {
    check(w.container < report.containers.size(), "wrapper leads to a container");
    check(report.containers[w.container].found.offset == w.target, "wrapper's target is its container");
  }
  for (const UnknownRange& u : report.unknown) {
    check(u.size > 0 && inside(u.offset, u.size, file.size()), "unknown range inside the file");
    for (const ContainerInfo& c : report.containers) {
      check(u.offset + u.size <= c.found.offset || u.offset >= c.found.offset + c.found.size, "unknown bytes are no image");
    }
  }
  for (const LooseInfo& l : report.loose) check(inside(l.offset, l.size, file.size()), "loose image inside the file");
}

}  // namespace
}  // namespace shim::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace shim::fuzz;
  const Input input(data, size);
  shim::Report report;
  const std::string mapped = read_mapped(input.file, input.name(), &report);
  check_report(report, input.file);
  const std::string streamed = read_streamed(input.file, input.name(), input.seed);
  if (mapped != streamed) std::fprintf(stderr, "mapped:   %s\nstreamed: %s\n", mapped.c_str(), streamed.c_str());
  check(mapped == streamed, "a stream gives what a mapping gives");
  return 0;
}
