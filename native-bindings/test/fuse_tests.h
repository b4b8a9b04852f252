#ifndef OCIMOUNT_TEST_FUSE_TESTS_H_
#define OCIMOUNT_TEST_FUSE_TESTS_H_

#include <vector>

#include "fuse_check.h"

namespace ocimount::test {

extern const std::vector<TestCase> kTreeTests;
extern const std::vector<TestCase> kMissTests;
extern const std::vector<TestCase> kProtocolTests;

/** Prints throughput of reading a file as one device. */
void Measure(const char* path);

}  // namespace ocimount::test

#endif  // OCIMOUNT_TEST_FUSE_TESTS_H_
