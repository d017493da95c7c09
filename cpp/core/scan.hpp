// Everything one file holds for the GPU: joins the streaming search with the ELF structures around it.
//
// Use: feed() the bytes front to back, then call resolve() until it returns nothing; each range it returns is fetched by
// the caller and handed to supply(). Then take().
#pragma once

#include <memory>
#include <optional>

#include "cubin.hpp"
#include "elf_dynamic.hpp"
#include "elf_slots.hpp"
#include "search.hpp"

namespace shim {

enum class Format : std::uint8_t { kNone, kElf, kArchive, kCubin, kFatbin, kPtx, kLtoIr };
enum class Role : std::uint8_t { kWhole, kPrelinked, kLinked, kStub, kEmbedded, kUnreferenced, kFile };

struct ContainerInfo {
  FoundContainer found;
  Role role = Role::kEmbedded;
  std::string section;
};

struct WrapperInfo {
  std::uint64_t offset = 0;
  std::uint32_t version = 0;
  SlotKind how = SlotKind::InPlace;
  std::uint64_t target = 0;     // file offset of the container
  std::size_t container = 0;    // its index
};

struct LooseInfo {
  std::uint16_t kind = 0;  // ImageKind
  unsigned arch = 0;
  char feature = 0;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;  // 0 = not known (PTX text in a data section)
  std::string section;
  unsigned major = 0, minor = 0;
};

struct UnknownRange {
  std::uint64_t offset = 0, size = 0;
  std::string section;
};

// Containers that no rule can tell apart. Sums are per image position.
struct GroupInfo {
  std::vector<std::uint64_t> members;  // container indices
  std::vector<std::uint64_t> stored, decoded;
};

struct Report {
  Format format = Format::kNone;
  std::uint16_t machine = 0;
  std::uint16_t elf_type = 0;
  std::vector<ContainerInfo> containers;
  std::vector<GroupInfo> groups;
  std::vector<WrapperInfo> wrappers;
  std::vector<LooseInfo> loose;
  std::vector<UnknownRange> unknown;
  std::vector<std::string> needed;
  std::string soname;
  std::optional<std::pair<std::uint32_t, std::uint32_t>> glibc;
};

struct Range {
  std::uint64_t offset = 0, size = 0;
};

class Archive;

class Scan {
 public:
  // `name` only helps with files that carry no magic (.ptx, .ltoir).
  Scan(std::uint64_t size, std::string name);
  // A member of an archive (archives in archives are not opened). `mapping`: its bytes when the archive is mapped.
  Scan(std::uint64_t size, const Budget& budget, Bytes mapping);
  ~Scan();

  void feed(Bytes chunk);
  void end();                      // all bytes came
  std::optional<Range> resolve();  // the next range needed, or nothing when done
  void supply(std::uint64_t offset, Bytes data);
  Report take();
  void forget();  // lets go of what was kept for resolve(), which will then ask for it

  const Budget& budget() const { return search_.budget(); }

  // The whole file at once, as a mapping. `drop` is called with ranges that are not needed in memory any more.
  static Report of_mapping(Bytes file, std::string name, void (*drop)(Bytes));

 private:
  void begin();
  void keep_elf_ranges();
  void assemble();

  std::string name_;
  Search search_;
  Windows windows_;
  Bytes mapping_;
  Report report_;
  bool begun_ = false;
  bool member_ = false;
  std::vector<std::byte> head_;
  std::vector<Tap*> taps_;
  std::unique_ptr<Archive> archive_;
};

// Fills in wrappers, roles, sections and unknown ranges of an ELF file from what the search found. May throw
// MissingRange; has no effect then.
void resolve_elf(const Windows& file, const Search& search, Report& report);

// Groups containers whose role and images look alike to the rules.
std::vector<GroupInfo> group_containers(const std::vector<ContainerInfo>& containers);

}  // namespace shim
