// Files on disk, for the writer: a source that is mapped, and a new file that is filled by copying ranges inside the
// kernel. Failures of the system are FileError.
#pragma once

#include <cstdint>
#include <string>

#include "mapping.hpp"

namespace shim {

// A regular file, mapped and open. The mapping costs memory only for the pages that are looked at.
class SourceFile {
 public:
  explicit SourceFile(const std::string& path);
  ~SourceFile();
  SourceFile(const SourceFile&) = delete;
  SourceFile& operator=(const SourceFile&) = delete;

  Bytes bytes() const noexcept { return mapping_.bytes(); }
  std::uint64_t size() const noexcept { return mapping_.bytes().size(); }
  int descriptor() const noexcept { return fd_; }
  unsigned mode() const noexcept { return mode_; }  // permission bits
  const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
  FileMapping mapping_;
  int fd_ = -1;
  unsigned mode_ = 0;
};

// A file that did not exist before. Unless commit() was called the destructor removes it.
class NewFile {
 public:
  NewFile(const std::string& path, unsigned mode);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void write_at(std::uint64_t offset, Bytes data);
  // Copies without passing through this process where the file systems allow it (copy_file_range).
  void copy_at(std::uint64_t offset, const SourceFile& from, std::uint64_t from_offset, std::uint64_t size);
  void set_size(std::uint64_t size);
  void commit();

 private:
  std::string path_;
  int fd_ = -1;
  bool committed_ = false;
};

}  // namespace shim
