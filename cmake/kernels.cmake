# The CPU kernels: each family's reference once, and its vectorised file once for every instruction set.
file(GLOB KERNEL_REFERENCE CONFIGURE_DEPENDS kernels/*/*_ref.c kernels/*.c)
add_library(recto_kernels OBJECT ${KERNEL_REFERENCE})
target_link_libraries(recto_kernels PRIVATE recto_flags)
