#include "miss_table.h"

#include <algorithm>
#include <cerrno>

namespace ocimount {

std::vector<MissRun> MissTable::Park(std::unique_ptr<ParkedRead> read,
                                     std::vector<PieceRef> missing, const DeviceSet& devices) {
  std::sort(missing.begin(), missing.end());
  missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
  std::vector<MissRun> runs;
  std::lock_guard lock(mutex_);
  uint64_t unique = read->unique;
  auto early = std::find(early_interrupts_.begin(), early_interrupts_.end(), unique);
  bool is_interrupted = unique != 0 && early != early_interrupts_.end();
  if (is_interrupted) *early = 0;
  std::erase_if(missing, [&](const PieceRef& ref) {
    return devices.IsPresent(ref) || FindSpare(ref) != nullptr;
  });
  read->error = is_drained_ || parked_.size() >= kMaxParked ? EIO : is_interrupted ? EINTR : 0;
  if (read->error != 0 || missing.empty() || parked_.contains(unique)) {
    ready_.push_back(std::move(read));
    ready_condition_.notify_one();
    return runs;
  }
  for (const PieceRef& ref : missing) {
    auto [entry, is_new] = waiting_.try_emplace(ref);
    entry->second.push_back(unique);
    if (!is_new) continue;
    if (!runs.empty() && runs.back().device == ref.device &&
        runs.back().piece + runs.back().count == ref.piece) {
      runs.back().count++;
    } else {
      runs.push_back({ref.device, ref.piece, 1});
    }
  }
  read->waits_for = std::move(missing);
  parked_.emplace(unique, std::move(read));
  return runs;
}

void MissTable::Complete(uint32_t device, uint64_t piece, uint64_t count, int error) {
  std::lock_guard lock(mutex_);
  uint64_t end = count > UINT64_MAX - piece ? UINT64_MAX : piece + count;
  // Walks what is waited for, which is bounded, and not what was given, which is not.
  for (;;) {
    auto entry = waiting_.lower_bound({device, piece});
    if (entry == waiting_.end() || entry->first.device != device || entry->first.piece >= end) {
      return;
    }
    Notify(entry->first, error, nullptr);
  }
}

void MissTable::CompleteWithBytes(PieceRef ref, PieceBytes bytes) {
  std::lock_guard lock(mutex_);
  std::erase_if(spares_, [&](const auto& spare) { return spare.first == ref; });
  spares_.emplace_back(ref, bytes);
  if (spares_.size() > kSpareCount) spares_.pop_front();
  has_spares_.store(true, std::memory_order_release);
  Notify(ref, 0, bytes);
}

void MissTable::WakeDevice(uint32_t device) {
  std::lock_guard lock(mutex_);
  std::vector<uint64_t> uniques;
  for (auto entry = waiting_.lower_bound({device, 0});
       entry != waiting_.end() && entry->first.device == device; ++entry) {
    uniques.insert(uniques.end(), entry->second.begin(), entry->second.end());
    entry->second.clear();
  }
  for (uint64_t unique : uniques) MakeReady(unique, 0);
}

void MissTable::Interrupt(uint64_t unique) {
  std::lock_guard lock(mutex_);
  if (parked_.contains(unique)) {
    MakeReady(unique, EINTR);
    return;
  }
  early_interrupts_[next_interrupt_++ % early_interrupts_.size()] = unique;
}

void MissTable::Drain() {
  std::lock_guard lock(mutex_);
  is_drained_ = true;
  waiting_.clear();
  while (!parked_.empty()) MakeReady(parked_.begin()->first, EIO);
}

void MissTable::Close() {
  std::lock_guard lock(mutex_);
  is_closed_ = true;
  ready_condition_.notify_all();
}

std::unique_ptr<ParkedRead> MissTable::Take() {
  std::unique_lock lock(mutex_);
  ready_condition_.wait(lock, [this] { return !ready_.empty() || is_closed_; });
  if (ready_.empty()) return nullptr;
  std::unique_ptr<ParkedRead> read = std::move(ready_.front());
  ready_.pop_front();
  return read;
}

PieceBytes MissTable::Find(PieceRef ref) const {
  if (!has_spares_.load(std::memory_order_acquire)) return nullptr;
  std::lock_guard lock(mutex_);
  return FindSpare(ref);
}

PieceBytes MissTable::FindSpare(PieceRef ref) const {
  for (const auto& [known, bytes] : spares_) {
    if (known == ref) return bytes;
  }
  return nullptr;
}

void MissTable::MakeReady(uint64_t unique, int error) {
  auto entry = parked_.find(unique);
  if (entry == parked_.end()) return;
  entry->second->error = error;
  // The piece stays asked for: whoever wants it next waits for the same answer.
  for (const PieceRef& ref : entry->second->waits_for) {
    auto waiting = waiting_.find(ref);
    if (waiting != waiting_.end()) std::erase(waiting->second, unique);
  }
  entry->second->waits_for.clear();
  ready_.push_back(std::move(entry->second));
  parked_.erase(entry);
  ready_condition_.notify_one();
}

void MissTable::Notify(PieceRef ref, int error, const PieceBytes& bytes) {
  auto entry = waiting_.find(ref);
  if (entry == waiting_.end()) return;
  std::vector<uint64_t> uniques = std::move(entry->second);
  waiting_.erase(entry);
  for (uint64_t unique : uniques) {
    auto parked = parked_.find(unique);
    if (parked == parked_.end()) continue;
    ParkedRead& read = *parked->second;
    std::erase(read.waits_for, ref);
    if (bytes != nullptr) read.held.emplace(ref, bytes);
    if (error != 0 || read.waits_for.empty()) MakeReady(unique, error);
  }
}

}  // namespace ocimount
