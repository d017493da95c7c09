#include <unordered_map>

#include "scan.hpp"

namespace shim {

namespace {

// Every part has a fixed size or its length in front, so that two different containers cannot give one key.
template <class T>
void put(std::string& key, T value) {
  char raw[sizeof value];
  std::memcpy(raw, &value, sizeof value);
  key.append(raw, sizeof raw);
}

// Everything the rules of shim.arch look at, and nothing else.
std::string signature(const ContainerInfo& c) {
  std::string key;
  put(key, c.role);
  for (const Entry& e : c.found.entries) {
    put(key, e.kind);
    put(key, e.arch);
    put(key, e.major);
    put(key, e.minor);
    put(key, e.flags & (kFlagArchSpecific | kFlagFamilySpecific | kFlagCompressed));
    put(key, e.options.size());
    key += e.options;
    put(key, e.compat.size());
    key += e.compat;
    put(key, e.captured.size());
    const auto* start = reinterpret_cast<const char*>(e.captured.data());  // bytes to characters, no integer is formed
    key.append(start, e.captured.size());
  }
  return key;
}

}  // namespace

std::vector<GroupInfo> group_containers(const std::vector<ContainerInfo>& containers) {
  std::vector<GroupInfo> groups;
  std::unordered_map<std::string, std::size_t> known;
  for (std::size_t i = 0; i < containers.size(); ++i) {
    const auto& entries = containers[i].found.entries;
    const auto [it, fresh] = known.emplace(signature(containers[i]), groups.size());
    if (fresh) groups.push_back({{}, std::vector<std::uint64_t>(entries.size()), std::vector<std::uint64_t>(entries.size())});
    GroupInfo& group = groups[it->second];
    group.members.push_back(i);
    for (std::size_t k = 0; k < entries.size(); ++k) {
      const Entry& e = entries[k];
      // Members of a 0x100 group share one header and one payload: the first of them is charged.
      const bool shares = e.grouped && k > 0 && entries[k - 1].offset == e.offset;
      if (!shares) group.stored[k] += e.header_size + e.payload_size;
      group.decoded[k] += e.decoded_size();
    }
  }
  return groups;
}

}  // namespace shim
