// What the groups of bindings share.
#pragma once

#include <pybind11/pybind11.h>

#include "bytes.hpp"

namespace shim {

// Holds a contiguous buffer exported by a Python object; must be made and destroyed with the GIL held.
class BufferView {
 public:
  explicit BufferView(const pybind11::buffer& data) {
    if (PyObject_GetBuffer(data.ptr(), &view_, PyBUF_SIMPLE) != 0) throw pybind11::error_already_set();
  }
  BufferView(const BufferView&) = delete;
  BufferView& operator=(const BufferView&) = delete;
  ~BufferView() { PyBuffer_Release(&view_); }

  Bytes bytes() const { return {static_cast<const std::byte*>(view_.buf), static_cast<std::size_t>(view_.len)}; }

 private:
  Py_buffer view_{};
};

}  // namespace shim
