#include "miss_table.h"

#include <algorithm>
#include <cerrno>

namespace ocimount {

namespace {

/** Puts what is missing of one piece together. */
void JoinParts(std::vector<MissingPart>* missing) {
  std::sort(missing->begin(), missing->end());
  size_t count = 0;
  for (const MissingPart& part : *missing) {
    if (count > 0 && (*missing)[count - 1].ref == part.ref) {
      MissingPart& known = (*missing)[count - 1];
      known.end = std::max(known.end, part.end);
    } else {
      (*missing)[count++] = part;
    }
  }
  missing->resize(count);
}

/** Adds to what is asked for, as one run where it goes on. */
void AddRun(const MissingPart& part, std::vector<MissRun>* runs) {
  const PieceRef& ref = part.ref;
  if (!runs->empty() && runs->back().device == ref.device &&
      runs->back().piece + runs->back().count == ref.piece && runs->back().end == part.begin) {
    runs->back().count++;
    runs->back().end = part.end;
  } else {
    runs->push_back({ref.device, ref.piece, 1, part.begin, part.end});
  }
}

}  // namespace

std::vector<MissRun> MissTable::Park(std::unique_ptr<ParkedRead> read,
                                     std::vector<MissingPart> missing,
                                     const DeviceSet& devices) {
  JoinParts(&missing);
  std::vector<MissRun> runs;
  std::lock_guard lock(mutex_);
  uint64_t unique = read->unique;
  auto early = std::find(early_interrupts_.begin(), early_interrupts_.end(), unique);
  bool is_interrupted = unique != 0 && early != early_interrupts_.end();
  if (is_interrupted) *early = 0;
  std::erase_if(missing, [&](const MissingPart& part) {
    return devices.IsPresent(part.ref) ||
           FindSpare(part.ref, part.begin, part.end - part.begin).bytes != nullptr;
  });
  read->error = is_drained_ || parked_.size() >= kMaxParked ? EIO : is_interrupted ? EINTR : 0;
  if (read->error != 0 || missing.empty() || parked_.contains(unique)) {
    ready_.push_back(std::move(read));
    ready_condition_.notify_one();
    return runs;
  }
  for (const MissingPart& part : missing) {
    auto [entry, is_new] = waiting_.try_emplace(part.ref);
    Waiters& waiters = entry->second;
    waiters.all.push_back({unique, part.begin, part.end});
    bool is_asked = part.begin >= waiters.begin && part.end <= waiters.end;
    if (!is_new && (is_asked || !devices.HasParts(part.ref.device))) continue;
    waiters.begin = part.begin;
    waiters.end = part.end;
    AddRun(part, &runs);
  }
  read->waits_for = std::move(missing);
  parked_.emplace(unique, std::move(read));
  return runs;
}

void MissTable::Complete(uint32_t device, uint64_t piece, uint64_t count, int error,
                         const DeviceSet& devices) {
  std::lock_guard lock(mutex_);
  uint64_t end = count > UINT64_MAX - piece ? UINT64_MAX : piece + count;
  // Walks what is waited for, which is bounded, and not what was given, which is not.
  for (;;) {
    auto entry = waiting_.lower_bound({device, piece});
    if (entry == waiting_.end() || entry->first.device != device || entry->first.piece >= end) {
      return;
    }
    Notify(entry->first, devices.IsPresent(entry->first) ? 0 : error, {});
  }
}

void MissTable::CompleteWithBytes(PieceRef ref, std::vector<uint8_t> bytes) {
  PieceBytes piece{std::make_shared<const std::vector<uint8_t>>(std::move(bytes)),
                   ref.piece * kPieceSize};
  std::lock_guard lock(mutex_);
  std::erase_if(spares_, [&](const auto& spare) { return spare.first == ref; });
  spares_.emplace_back(ref, piece);
  if (spares_.size() > kSpareCount) spares_.pop_front();
  has_spares_.store(true, std::memory_order_release);
  Notify(ref, 0, piece);
}

void MissTable::CompletePart(uint32_t device, uint64_t offset, std::vector<uint8_t> bytes) {
  PieceBytes part{std::make_shared<const std::vector<uint8_t>>(std::move(bytes)), offset};
  std::lock_guard lock(mutex_);
  NotifyRange(device, offset, offset + part.bytes->size(), 0, part);
}

void MissTable::FailPart(uint32_t device, uint64_t begin, uint64_t end, int error) {
  std::lock_guard lock(mutex_);
  NotifyRange(device, begin, end, error, {});
}

void MissTable::WakeDevice(uint32_t device) {
  std::lock_guard lock(mutex_);
  std::vector<uint64_t> uniques;
  for (auto entry = waiting_.lower_bound({device, 0});
       entry != waiting_.end() && entry->first.device == device; ++entry) {
    for (const Waiter& waiter : entry->second.all) uniques.push_back(waiter.unique);
    entry->second.all.clear();
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

PieceBytes MissTable::Find(PieceRef ref, uint64_t address, size_t length) const {
  if (!has_spares_.load(std::memory_order_acquire)) return {};
  std::lock_guard lock(mutex_);
  return FindSpare(ref, address, length);
}

PieceBytes MissTable::FindSpare(PieceRef ref, uint64_t address, size_t length) const {
  for (const auto& [known, bytes] : spares_) {
    if (known == ref && bytes.At(address, length) != nullptr) return bytes;
  }
  return {};
}

void MissTable::MakeReady(uint64_t unique, int error) {
  auto entry = parked_.find(unique);
  if (entry == parked_.end()) return;
  entry->second->error = error;
  // The piece stays asked for: whoever wants it next waits for the same answer.
  for (const MissingPart& part : entry->second->waits_for) {
    auto waiting = waiting_.find(part.ref);
    if (waiting == waiting_.end()) continue;
    std::erase_if(waiting->second.all,
                  [&](const Waiter& waiter) { return waiter.unique == unique; });
  }
  entry->second->waits_for.clear();
  ready_.push_back(std::move(entry->second));
  parked_.erase(entry);
  ready_condition_.notify_one();
}

void MissTable::Notify(PieceRef ref, int error, const PieceBytes& bytes) {
  auto entry = waiting_.find(ref);
  if (entry == waiting_.end()) return;
  std::vector<Waiter> waiters = std::move(entry->second.all);
  waiting_.erase(entry);
  for (const auto& [unique, begin, end] : waiters) {
    auto parked = parked_.find(unique);
    if (parked == parked_.end()) continue;
    ParkedRead& read = *parked->second;
    std::erase_if(read.waits_for, [&](const MissingPart& part) { return part.ref == ref; });
    if (bytes.bytes != nullptr) read.held.insert_or_assign(ref, bytes);
    if (error != 0 || read.waits_for.empty()) MakeReady(unique, error);
  }
}

void MissTable::NotifyRange(uint32_t device, uint64_t begin, uint64_t end, int error,
                            const PieceBytes& bytes) {
  auto entry = waiting_.lower_bound({device, begin / kPieceSize});
  while (entry != waiting_.end() && entry->first.device == device &&
         entry->first.piece * kPieceSize < end) {
    NotifyPart(entry->first, &entry->second, begin, end, error, bytes);
    entry = entry->second.all.empty() ? waiting_.erase(entry) : std::next(entry);
  }
}

void MissTable::NotifyPart(PieceRef ref, Waiters* waiters, uint64_t begin, uint64_t end,
                           int error, const PieceBytes& bytes) {
  const auto is_inside = [&](uint64_t from, uint64_t to) { return from >= begin && to <= end; };
  std::vector<uint64_t> ready;
  std::erase_if(waiters->all, [&](const Waiter& waiter) {
    if (!is_inside(waiter.begin, waiter.end)) return false;
    auto parked = parked_.find(waiter.unique);
    if (parked == parked_.end()) return true;
    ParkedRead& read = *parked->second;
    std::erase_if(read.waits_for, [&](const MissingPart& wanted) { return wanted.ref == ref; });
    if (bytes.bytes != nullptr) read.held.insert_or_assign(ref, bytes);
    if (error != 0 || read.waits_for.empty()) ready.push_back(waiter.unique);
    return true;
  });
  // Whoever wants this stretch from now on has to ask.
  if (is_inside(waiters->begin, waiters->end)) waiters->begin = waiters->end = 0;
  for (uint64_t unique : ready) MakeReady(unique, error);
}

}  // namespace ocimount
