// What a job reads, made ready when the job is at hand: readers of a whole plan would take more
// memory than the plan.
#pragma once

#include <optional>
#include <vector>

#include "convert/conversion.h"
#include "streaming/source.h"
#include "streaming/view_reader.h"

namespace mlxmill::convert {

/// Threads: each has its own.
class JobReader {
 public:
  /// The conversion must outlive the reader.
  explicit JobReader(const Conversion& conversion) : stored_(*conversion.sources) {}

  /// One for each input. They hold until another job is asked for.
  const std::vector<streaming::ViewReader>& inputs(const Job& job) {
    if (&job == job_) return inputs_;
    inputs_.clear();
    pool_.emplace(streaming::SourcePool::over(stored_));
    for (const tensors::TensorView& input : job.inputs) inputs_.emplace_back(input, *pool_);
    job_ = &job;
    return inputs_;
  }

 private:
  const streaming::SourcePool& stored_;
  const Job* job_ = nullptr;
  std::optional<streaming::SourcePool> pool_;
  std::vector<streaming::ViewReader> inputs_;
};

}  // namespace mlxmill::convert
