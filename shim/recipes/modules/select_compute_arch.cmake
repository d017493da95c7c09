# CUDA_SELECT_NVCC_ARCH_FLAGS for architectures of three digits and with suffixes (12.1, 12.0f, 12.1a, 9.0+PTX).
# Takes the place of the file of that name in CMake's FindCUDA and of private copies, whose pattern knows one digit
# before the dot and whose automatic mode turns 12.1 into 12.1(2.0).
#
#   cuda_select_nvcc_arch_flags(<out> [<arch> ...])
#
# <arch>: X.Y, X.Ya, X.Yf, each with +PTX or (X.Y) for another virtual one. "Auto", "Common" and "All" ask for
# SHIM_CUDA_ARCHS, else TORCH_CUDA_ARCH_LIST of the environment, else 12.1: a build need not run where the GPU is.
# Sets <out> to flags of nvcc and <out>_readable to words.

function(cuda_select_nvcc_arch_flags out_variable)
  set(wanted ${ARGN})
  string(REGEX REPLACE "[ ,]+" ";" wanted "${wanted}")
  if("${wanted}" STREQUAL "" OR "${wanted}" MATCHES "^(Auto|Common|All)$")
    set(wanted "$ENV{SHIM_CUDA_ARCHS}")
    if("${wanted}" STREQUAL "")
      set(wanted "$ENV{TORCH_CUDA_ARCH_LIST}")
    endif()
    if("${wanted}" STREQUAL "")
      set(wanted "12.1")
    endif()
    string(REGEX REPLACE "[ ,]+" ";" wanted "${wanted}")
  endif()
  set(flags "")
  set(words "")
  foreach(arch IN LISTS wanted)
    if(NOT "${arch}" MATCHES "^([0-9]+)\\.([0-9])([af]?)(\\(([0-9]+)\\.([0-9])([af]?)\\))?(\\+PTX)?$")
      message(SEND_ERROR "Unknown CUDA Architecture Name ${arch} in CUDA_SELECT_NVCC_ARCH_FLAGS")
      continue()
    endif()
    set(real "${CMAKE_MATCH_1}${CMAKE_MATCH_2}${CMAKE_MATCH_3}")
    set(virtual "${real}")
    if(NOT "${CMAKE_MATCH_4}" STREQUAL "")
      set(virtual "${CMAKE_MATCH_5}${CMAKE_MATCH_6}${CMAKE_MATCH_7}")
    endif()
    set(ptx "${CMAKE_MATCH_8}")
    list(APPEND flags -gencode "arch=compute_${virtual},code=sm_${real}")
    list(APPEND words "sm_${real}")
    if(NOT "${ptx}" STREQUAL "")
      list(APPEND flags -gencode "arch=compute_${virtual},code=compute_${virtual}")
      list(APPEND words "compute_${virtual}")
    endif()
  endforeach()
  string(REPLACE ";" " " words "${words}")
  set(${out_variable} ${flags} PARENT_SCOPE)
  set(${out_variable}_readable "${words}" PARENT_SCOPE)
endfunction()
