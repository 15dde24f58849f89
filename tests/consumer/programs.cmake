# The same program in C and in C++, with the project's own copy of jansson before and after recto.
find_library(JANSSON NAMES libjansson.a REQUIRED)
configure_file(${CMAKE_CURRENT_LIST_DIR}/consumer.c ${CMAKE_BINARY_DIR}/consumer.cpp COPYONLY)
add_executable(consumer_c ${CMAKE_CURRENT_LIST_DIR}/consumer.c)
target_link_libraries(consumer_c PRIVATE ${JANSSON} recto::recto)
add_executable(consumer_cpp ${CMAKE_BINARY_DIR}/consumer.cpp)
target_compile_features(consumer_cpp PRIVATE cxx_std_17)
target_link_libraries(consumer_cpp PRIVATE recto::recto ${JANSSON})
