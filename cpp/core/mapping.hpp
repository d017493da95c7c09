// A file mapped for reading.
#pragma once

#include <string>
#include <system_error>

#include "bytes.hpp"

namespace shim {

// A file that cannot be opened, read or written; `path` names it.
class FileError : public std::system_error {
 public:
  FileError(int code, std::string file) : std::system_error(code, std::generic_category(), file), path(std::move(file)) {}
  std::string path;
};

class FileMapping {
 public:
  explicit FileMapping(const std::string& path);  // FileError when the file cannot be opened or mapped
  FileMapping(const FileMapping&) = delete;
  FileMapping& operator=(const FileMapping&) = delete;
  ~FileMapping();

  Bytes bytes() const { return bytes_; }

  // Tells the kernel that these bytes of a mapping are not needed in memory any more: they are read again when touched.
  static void drop(Bytes part);

 private:
  Bytes bytes_;
};

}  // namespace shim
