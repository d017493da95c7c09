#include "disk_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

namespace shim {
namespace {

[[noreturn]] void fail_on(const char* action, const std::string& path, int error = errno) {
  throw std::system_error(error, std::generic_category(), std::string(action) + " " + path);
}

}  // namespace

SourceFile::SourceFile(const std::string& path) : path_(path) {
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) fail_on("cannot open", path);
  struct stat info {};
  const int error = ::fstat(fd_, &info) != 0 ? errno : S_ISREG(info.st_mode) ? 0 : EINVAL;
  if (error != 0) {
    ::close(fd_);
    fail_on("cannot read", path, error);
  }
  mode_ = info.st_mode & 07777;
  const auto size = static_cast<std::size_t>(info.st_size);
  if (size == 0) return;  // nothing to map
  void* start = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd_, 0);
  if (start == MAP_FAILED) {
    const int reason = errno;
    ::close(fd_);
    fail_on("cannot map", path, reason);
  }
  bytes_ = Bytes(static_cast<const std::byte*>(start), size);
}

SourceFile::~SourceFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  ::close(fd_);
}

NewFile::NewFile(const std::string& path, unsigned mode) : path_(path) {
  // O_EXCL: never write into a file that is there, least of all into the source (wheel caches hard-link).
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd_ < 0) fail_on("cannot create", path);
  if (::fchmod(fd_, mode) != 0) {
    const int reason = errno;
    ::close(fd_);
    ::unlink(path.c_str());
    fail_on("cannot set the mode of", path, reason);
  }
}

NewFile::~NewFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!committed_) ::unlink(path_.c_str());
}

void NewFile::fail(const char* action) const { fail_on(action, path_); }

void NewFile::write_at(std::uint64_t offset, Bytes data) {
  while (!data.empty()) {
    const ssize_t done = ::pwrite(fd_, data.data(), data.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) fail("cannot write");
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
    if (got < 0) fail_on("cannot read", from.path());
    if (got == 0) fail_on("file became shorter while it was copied:", from.path(), EIO);
    write_at(static_cast<std::uint64_t>(out), Bytes(buffer.data(), static_cast<std::size_t>(got)));
    in += got;
    out += got;
    size -= static_cast<std::uint64_t>(got);
  }
}

void NewFile::set_size(std::uint64_t size) {
  if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) fail("cannot resize");
}

void NewFile::commit() {
  const int fd = fd_;
  fd_ = -1;
  if (::close(fd) != 0) fail("cannot close");
  committed_ = true;
}

}  // namespace shim
