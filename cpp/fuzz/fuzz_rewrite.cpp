// The writer: containers of an ELF file rewritten in the layout that the last two bytes choose. Whatever the file, there
// is a sound new file or none.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "entry.hpp"
#include "fuzz.hpp"
#include "rewrite.hpp"
#include "wrapper_pointers.hpp"

namespace shim::fuzz {
namespace {

constexpr std::size_t kMaxWrappers = 8;

class Paths {
 public:
  Paths() : base_("/dev/shm/shim-fuzz-" + std::to_string(::getpid())), input(base_ + "-in"), output(base_ + "-out") {}
  ~Paths() { ::unlink(input.c_str()); }

 private:
  std::string base_;

 public:
  const std::string input, output;
};

void write_file(const std::string& path, Bytes data) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  check(fd >= 0, "the input is written");
  check(::write(fd, data.data(), data.size()) == static_cast<ssize_t>(data.size()), "the input is written whole");
  ::close(fd);
}

struct Target {
  std::uint64_t wrapper = 0;    // file offset
  std::uint64_t container = 0;  // where its pointer leads, in the file
};

// Wrappers found by their magic and resolved one by one, so that one bad one does not hide the others.
std::vector<Target> targets_of(Bytes bytes) {
  std::vector<Target> out;
  try {
    const Windows file = Windows::whole(bytes);
    const Elf elf = parse_elf(file);
    const ElfDynamic dynamic = read_dynamic(file, elf);
    for (std::uint64_t at = 0; at + kWrapperSize <= bytes.size() && out.size() < kMaxWrappers; at += 4) {
      if (load<std::uint32_t>(bytes.data() + at) != kWrapperMagic) continue;
      try {
        const std::uint64_t wrapper[] = {at};
        const auto pointer = resolve_wrapper_pointers(file, elf, dynamic, wrapper, [] {}).front();
        out.push_back({at, elf.vaddr_to_offset(pointer.now.target).value_or(0)});
      } catch (const ParseError&) {
      } catch (const RefusedError&) {
        out.push_back({at, 0});
      } catch (const std::invalid_argument&) {
      }
    }
  } catch (const ParseError&) {
  }
  return out;
}

// Containers that are taken apart: an empty one, or a short one with some bytes of the file.
std::vector<ContainerEdit> edits_of(Bytes file, unsigned seed, const std::vector<std::byte>& empty,
                                    const std::vector<std::byte>& filled, const std::vector<Target>& targets) {
  std::vector<ContainerEdit> out;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const auto same = std::ranges::find(out, targets[i].container, &ContainerEdit::offset);
    if (same != out.end()) {
      same->wrappers.push_back(targets[i].wrapper);
      continue;
    }
    if (((seed >> (2 + i)) & 1) == 0 && i != 0) continue;
    ContainerEdit& edit = out.emplace_back();
    edit.offset = targets[i].container;
    edit.wrappers.push_back(targets[i].wrapper);
    if (((seed >> (8 + i)) & 1) == 0 || file.size() < 64)
      edit.pieces = {Bytes(empty)};
    else
      edit.pieces = {Bytes(filled), SourceRange{file.size() - 64, 64}};
  }
  return out;
}

Bytes piece_bytes(Bytes file, const Piece& piece) {
  if (const auto* range = std::get_if<SourceRange>(&piece)) return file.subspan(range->offset, range->size);
  return std::get<Bytes>(piece);
}

void check_old(Bytes before, Bytes after, const std::vector<OldRange>& old) {
  std::uint64_t at = 0;
  for (const OldRange& range : old) {
    check(range.offset == at && range.size > 0, "old ranges follow each other");
    check(inside(range.offset, range.size, before.size()), "old ranges are in the original");
    at += range.size;
    if (range.at < 0) continue;
    const auto now = static_cast<std::uint64_t>(range.at);
    check(inside(now, range.size, after.size()), "old ranges are in the new file");
    check(std::ranges::equal(before.subspan(range.offset, range.size), after.subspan(now, range.size)),
          "old bytes are where they are said to be");
  }
  check(at == before.size(), "old ranges reach the end of the original");
}

void check_written(Bytes before, Bytes after, const std::vector<ContainerEdit>& edits, const RewriteResult& result) {
  check(after.size() == result.size && before.size() == result.original_size, "sizes are what they are said to be");
  check_old(before, after, result.old);
  const Windows file = Windows::whole(after);
  const Elf elf = parse_elf(file);
  const ElfDynamic dynamic = read_dynamic(file, elf);
  std::size_t number = 0;
  for (const ContainerEdit& edit : edits) {
    std::uint64_t at = result.containers[number++];
    const std::uint64_t start = at;
    for (const Piece& piece : edit.pieces) {
      const Bytes wanted = piece_bytes(before, piece);
      check(inside(at, wanted.size(), after.size()), "a container is in the new file");
      check(std::ranges::equal(wanted, after.subspan(at, wanted.size())), "a container holds its pieces");
      at += wanted.size();
    }
    std::vector<std::uint64_t> wrappers;
    for (const std::uint64_t old : edit.wrappers) {
      for (const OldRange& range : result.old)
        if (old >= range.offset && old - range.offset < range.size && range.at >= 0)
          wrappers.push_back(static_cast<std::uint64_t>(range.at) + (old - range.offset));
    }
    check(wrappers.size() == edit.wrappers.size(), "wrappers stay");
    for (const WrapperPointer& pointer : resolve_wrapper_pointers(file, elf, dynamic, wrappers, [] {}))
      check(elf.vaddr_to_offset(pointer.now.target) == start, "wrappers lead to the new container");
  }
  for (const auto& [old, now] : result.moved) check(inside(old, 16, before.size()) && inside(now, 16, after.size()), "moved containers are in both files");
}

void run(const Input& input) {
  static const Paths paths;
  write_file(paths.input, input.file);
  const std::vector<std::byte> empty = make_container_header(0);
  const std::vector<std::byte> filled = make_container_header(64);
  const auto edits = edits_of(input.file, input.seed, empty, filled, targets_of(input.file));
  const auto layout = static_cast<Layout>(input.seed % 3);
  ::unlink(paths.output.c_str());
  try {
    const RewriteResult result = rewrite_containers(paths.input, paths.output, edits, layout);
    {
      const FileMapping written(paths.output);
      try {
        check_written(input.file, written.bytes(), edits, result);
      } catch (const std::exception& error) {
        check(false, error.what());
      }
    }
    ::unlink(paths.output.c_str());
    return;
  } catch (const ParseError&) {
  } catch (const RefusedError&) {
  } catch (const std::invalid_argument&) {
  } catch (const FileError&) {
  }
  check(::access(paths.output.c_str(), F_OK) != 0, "nothing is left when it fails");
}

}  // namespace
}  // namespace shim::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  shim::fuzz::run(shim::fuzz::Input(data, size));
  return 0;
}
