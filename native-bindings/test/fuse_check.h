// The whole of a test framework: CHECK counts and goes on, a test is a function in a table.

#ifndef OCIMOUNT_TEST_FUSE_CHECK_H_
#define OCIMOUNT_TEST_FUSE_CHECK_H_

#include <atomic>
#include <cstdio>

namespace ocimount::test {

inline std::atomic<int> failures{0};

struct TestCase {
  const char* name;
  void (*run)();
};

}  // namespace ocimount::test

#define CHECK(condition)                                                          \
  do {                                                                            \
    if (!(condition)) {                                                           \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      ocimount::test::failures++;                                                 \
    }                                                                             \
  } while (false)

#define CHECK_EQ(actual, expected)                                                            \
  do {                                                                                        \
    long long actual_value = static_cast<long long>(actual);                                  \
    long long expected_value = static_cast<long long>(expected);                              \
    if (actual_value != expected_value) {                                                     \
      std::fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #actual,      \
                   actual_value, expected_value);                                             \
      ocimount::test::failures++;                                                             \
    }                                                                                         \
  } while (false)

#endif  // OCIMOUNT_TEST_FUSE_CHECK_H_
