#include "disk_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace shim {
SourceFile::SourceFile(const std::string& path) : path_(path), mapping_(path) {
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat info {};
  if (fd_ < 0 || ::fstat(fd_, &info) != 0) {
    const int code = errno;
    if (fd_ >= 0) ::close(fd_);
    throw FileError(code, path);
  }
  mode_ = info.st_mode & 07777;
}

SourceFile::~SourceFile() { ::close(fd_); }

NewFile::NewFile(const std::string& path, unsigned mode) : path_(path) {
  // O_EXCL: never write into a file that is there, least of all into the source (wheel caches hard-link).
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd_ < 0) throw FileError(errno, path);
  if (::fchmod(fd_, mode) != 0) {
    const int reason = errno;
    ::close(fd_);
    ::unlink(path.c_str());
    throw FileError(reason, path);
  }
}

NewFile::~NewFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!committed_) ::unlink(path_.c_str());
}

void NewFile::write_at(std::uint64_t offset, Bytes data) {
  while (!data.empty()) {
    const ssize_t done = ::pwrite(fd_, data.data(), data.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) throw FileError(errno, path_);
    offset += static_cast<std::uint64_t>(done);
    data = data.subspan(static_cast<std::size_t>(done));
  }
}

void NewFile::copy_at(std::uint64_t offset, const SourceFile& from, std::uint64_t from_offset, std::uint64_t size) {
  if (!inside(from_offset, size, from.size()))
    throw ParseError("copy of " + std::to_string(size) + " bytes leaves " + from.path(), from_offset);
  auto in = static_cast<off_t>(from_offset);
  auto out = static_cast<off_t>(offset);
  while (size > 0) {
    const ssize_t done = ::copy_file_range(from.descriptor(), &in, fd_, &out, size, 0);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) break;  // other file system, or an old kernel: by hand below, which meets a real error again
    size -= static_cast<std::uint64_t>(done);
  }
  std::array<std::byte, 1U << 18> buffer;
  while (size > 0) {
    const ssize_t got = ::pread(from.descriptor(), buffer.data(), std::min<std::uint64_t>(size, buffer.size()), in);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw FileError(errno, from.path());
    if (got == 0) throw FileError(EIO, from.path());  // became shorter meanwhile
    write_at(static_cast<std::uint64_t>(out), Bytes(buffer.data(), static_cast<std::size_t>(got)));
    in += got;
    out += got;
    size -= static_cast<std::uint64_t>(got);
  }
}

void NewFile::set_size(std::uint64_t size) {
  if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) throw FileError(errno, path_);
}

void NewFile::commit() {
  const int fd = fd_;
  fd_ = -1;
  if (::close(fd) != 0) throw FileError(errno, path_);
  committed_ = true;
}

}  // namespace shim
