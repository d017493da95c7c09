#include "library.hpp"

#include <link.h>

namespace shim {

DriverLibrary::DriverLibrary(const std::vector<std::string>& candidates) {
  for (const std::string& name : candidates) {
    handle_ = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) {
      path_ = name;
      link_map* map = nullptr;
      if (::dlinfo(handle_, RTLD_DI_LINKMAP, &map) == 0 && map != nullptr && map->l_name != nullptr && *map->l_name)
        path_ = map->l_name;
      return;
    }
    const char* words = ::dlerror();
    if (error_.empty() && words != nullptr) error_ = words;
  }
}

DriverLibrary::~DriverLibrary() {
  // The CUDA driver is never unloaded: it leaves threads and exit handlers behind.
}

}  // namespace shim
