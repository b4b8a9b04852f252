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
      runs->back().piece + runs->back().count == ref.piece) {
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
    return devices.IsPresent(part.ref) || FindSpare(part.ref).bytes != nullptr;
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
    waiters.uniques.push_back(unique);
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
  uint64_t end = offset + part.bytes->size();
  for (auto entry = waiting_.lower_bound({device, offset / kPieceSize});
       entry != waiting_.end() && entry->first.device == device &&
       entry->first.piece * kPieceSize < end;
       ++entry) {
    NotifyPart(entry->first, &entry->second, part);
  }
}

void MissTable::WakeDevice(uint32_t device) {
  std::lock_guard lock(mutex_);
  std::vector<uint64_t> uniques;
  for (auto entry = waiting_.lower_bound({device, 0});
       entry != waiting_.end() && entry->first.device == device; ++entry) {
    std::vector<uint64_t>& waiters = entry->second.uniques;
    uniques.insert(uniques.end(), waiters.begin(), waiters.end());
    waiters.clear();
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
  if (!has_spares_.load(std::memory_order_acquire)) return {};
  std::lock_guard lock(mutex_);
  return FindSpare(ref);
}

PieceBytes MissTable::FindSpare(PieceRef ref) const {
  for (const auto& [known, bytes] : spares_) {
    if (known == ref) return bytes;
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
    if (waiting != waiting_.end()) std::erase(waiting->second.uniques, unique);
  }
  entry->second->waits_for.clear();
  ready_.push_back(std::move(entry->second));
  parked_.erase(entry);
  ready_condition_.notify_one();
}

void MissTable::Notify(PieceRef ref, int error, const PieceBytes& bytes) {
  auto entry = waiting_.find(ref);
  if (entry == waiting_.end()) return;
  std::vector<uint64_t> uniques = std::move(entry->second.uniques);
  waiting_.erase(entry);
  for (uint64_t unique : uniques) {
    auto parked = parked_.find(unique);
    if (parked == parked_.end()) continue;
    ParkedRead& read = *parked->second;
    std::erase_if(read.waits_for, [&](const MissingPart& part) { return part.ref == ref; });
    if (bytes.bytes != nullptr) read.held.insert_or_assign(ref, bytes);
    if (error != 0 || read.waits_for.empty()) MakeReady(unique, error);
  }
}

void MissTable::NotifyPart(PieceRef ref, Waiters* waiters, const PieceBytes& part) {
  const auto has = [&](uint64_t begin, uint64_t end) {
    return part.At(begin, static_cast<size_t>(end - begin)) != nullptr;
  };
  std::vector<uint64_t> ready;
  std::erase_if(waiters->uniques, [&](uint64_t unique) {
    auto parked = parked_.find(unique);
    if (parked == parked_.end()) return true;
    ParkedRead& read = *parked->second;
    if (std::erase_if(read.waits_for, [&](const MissingPart& wanted) {
          return wanted.ref == ref && has(wanted.begin, wanted.end);
        }) == 0) {
      return false;
    }
    read.held.insert_or_assign(ref, part);
    if (read.waits_for.empty()) ready.push_back(unique);
    return true;
  });
  // The piece stays asked for, but whoever wants this stretch of it from now on has to ask.
  if (has(waiters->begin, waiters->end)) waiters->begin = waiters->end = 0;
  for (uint64_t unique : ready) MakeReady(unique, 0);
}

}  // namespace ocimount
