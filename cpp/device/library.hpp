// A shared library of the driver, opened by name at run time. No CUDA header and no link-time dependency.
#pragma once

#include <dlfcn.h>

#include <string>
#include <vector>

namespace shim {

class DriverLibrary {
 public:
  // Opens the first candidate that loads; a plain name follows the loader's own search (LD_LIBRARY_PATH, cuda-compat).
  explicit DriverLibrary(const std::vector<std::string>& candidates);
  ~DriverLibrary();
  DriverLibrary(const DriverLibrary&) = delete;
  DriverLibrary& operator=(const DriverLibrary&) = delete;

  explicit operator bool() const noexcept { return handle_ != nullptr; }
  const std::string& path() const noexcept { return path_; }    // of the file that was loaded
  const std::string& error() const noexcept { return error_; }  // the loader's words for the first candidate

  // Null when the library has no such function.
  template <class Function>
  Function* function(const char* name) const noexcept {
    return handle_ == nullptr ? nullptr : reinterpret_cast<Function*>(::dlsym(handle_, name));
  }

 private:
  void* handle_ = nullptr;
  std::string path_;
  std::string error_;
};

}  // namespace shim
