#include "offset_map.hpp"

#include <algorithm>

namespace shim {
namespace {

void add(std::vector<OldRange>& out, const OldRange& next) {
  if (next.size == 0) return;
  if (!out.empty()) {
    OldRange& last = out.back();
    const bool gone = last.at < 0 && next.at < 0;
    const bool together = last.at >= 0 && next.at == last.at + static_cast<std::int64_t>(last.size);
    if (gone || together) {
      last.size += next.size;
      return;
    }
  }
  out.push_back(next);
}

// The kept range, without what is changed in it. `first` walks along `changed`, which ascends.
void add_kept(std::vector<OldRange>& out, KeptRange kept, const std::vector<ChangedRange>& changed,
              std::size_t& first) {
  const std::uint64_t end = kept.offset + kept.size;
  std::uint64_t at = kept.offset;
  const auto keep_until = [&](std::uint64_t until) {
    if (until > at) add(out, {at, until - at, static_cast<std::int64_t>(kept.at + (at - kept.offset))});
    at = std::max(at, until);
  };
  while (first < changed.size() && changed[first].offset + changed[first].size <= at) ++first;
  for (std::size_t i = first; i < changed.size() && changed[i].offset < end; ++i) {
    keep_until(changed[i].offset);
    const std::uint64_t gone = std::min(end, changed[i].offset + changed[i].size);
    if (gone > at) add(out, {at, gone - at, -1});
    at = std::max(at, gone);
  }
  keep_until(end);
}

}  // namespace

std::vector<OldRange> account_for(std::uint64_t size, std::vector<KeptRange> kept, std::vector<ChangedRange> changed) {
  std::ranges::sort(kept, {}, &KeptRange::offset);
  std::ranges::sort(changed, {}, &ChangedRange::offset);
  std::vector<OldRange> out;
  std::uint64_t at = 0;
  std::size_t first = 0;
  for (KeptRange range : kept) {
    const std::uint64_t end = std::min(size, range.offset + range.size);
    if (end <= at) continue;
    if (range.offset > at) add(out, {at, range.offset - at, -1});
    const std::uint64_t skip = range.offset < at ? at - range.offset : 0;
    add_kept(out, {range.offset + skip, end - range.offset - skip, range.at + skip}, changed, first);
    at = end;
  }
  if (at < size) add(out, {at, size - at, -1});
  return out;
}

}  // namespace shim
