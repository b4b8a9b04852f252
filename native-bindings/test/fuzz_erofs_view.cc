// libFuzzer: an image of any bytes, whose superblock is made right so that the rest is reached.

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "erofs_filesystem.h"
#include "erofs_format.h"

namespace {

using namespace ocimount;  // NOLINT

void FixSuperblock(std::vector<uint8_t>* image) {
  uint8_t* sb = image->data() + erofs::kSuperblockOffset;
  auto store = [&](uint64_t at, uint64_t value, int size) {
    for (int index = 0; index < size; index++) sb[at + index] = uint8_t(value >> (8 * index));
  };
  uint32_t devices = erofs::Load16(sb + erofs::kSbExtraDevices) % 4;
  store(erofs::kSbMagic, erofs::kSuperblockMagic, 4);
  store(erofs::kSbChecksum, 0, 4);
  store(erofs::kSbFeatureCompat, erofs::kCompatSbChksum, 4);
  store(erofs::kSbBlkszbits, erofs::kBlockBits, 1);
  store(erofs::kSbExtslots, 0, 1);
  store(erofs::kSbBlocks, image->size() / erofs::kBlockSize, 4);
  store(erofs::kSbMetaBlkaddr, 0, 4);
  store(erofs::kSbExtraDevices, devices, 2);
  store(erofs::kSbFeatureIncompat,
        erofs::kIncompatChunkedFile | (devices == 0 ? 0 : erofs::kIncompatDeviceTable), 4);
  store(erofs::kSbDirblkbits, 0, 2);
  uint32_t crc = 0xffffffff;
  for (uint64_t index = 0; index < erofs::kChecksumCoverage; index++) {
    crc ^= sb[index];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
  }
  store(erofs::kSbChecksum, crc, 4);
}

/** Follows entries into directories as far as they go, by a bounded number of steps. */
class Follower final : public DirentSink {
 public:
  explicit Follower(std::vector<uint64_t>* nodes) : nodes_(nodes) {}
  bool Add(const ErofsDirent& entry, uint64_t nodeid) override {
    if (entry.name.empty() || entry.name.size() > 255) __builtin_trap();
    nodes_->push_back(nodeid);
    return nodes_->size() < 200;
  }

 private:
  std::vector<uint64_t>* const nodes_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1536) return 0;
  std::vector<uint8_t> image(data, data + size);
  FixSuperblock(&image);
  std::string why;
  auto view = ErofsView::Open(image.data(), image.size(), &why);
  if (view == nullptr) return 0;
  ErofsFilesystem filesystem(std::move(view), 0);
  std::vector<uint64_t> nodes{1, 36, 40};
  for (size_t index = 0; index < nodes.size() && index < 200; index++) {
    uint64_t node = nodes[index];
    Follower follower(&nodes);
    FuseNode found;
    std::string_view text;
    std::string names;
    std::vector<FileExtent> extents;
    uint64_t position;
    filesystem.GetNode(node, &found);
    filesystem.Lookup(node, "name", &found);
    filesystem.ReadLink(node, &text);
    filesystem.ReadDirectory(node, index % 2 == 0 ? 0 : index * 7, &follower);
    filesystem.GetXattr(node, "user.a", &text);
    filesystem.ListXattr(node, &names);
    uint64_t bytes = 0;
    if (filesystem.MapRead(node, index * 1000, 1 << 20, &extents) == 0) {
      for (const FileExtent& extent : extents) bytes += extent.length;
    }
    if (bytes > 1 << 20) __builtin_trap();
    filesystem.Seek(node, 5, true, &position);
    filesystem.Seek(node, 5, false, &position);
  }
  return 0;
}
