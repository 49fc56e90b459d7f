#include "bench/direct/passes.hpp"

#include <atomic>
#include <chrono>
#include <fstream>
#include <iterator>
#include <thread>

namespace squall::bench {

namespace {

using steady = std::chrono::steady_clock;

double milliseconds(duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

} // namespace

result<std::vector<work_item>> read_items(const std::filesystem::path& folder, std::size_t limit) {
  SQUALL_ASSIGN(truth, read_truth(folder));
  if (limit > 0 && limit < truth.size())
    truth.resize(limit);
  std::vector<work_item> items;
  for (auto& item : truth) {
    std::ifstream file(item.file, std::ios::binary);
    const std::string content((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    if (!file)
      return {errc::not_found, item.file.string() + " cannot be read"};
    items.push_back({std::move(item), functions::scalar_value(std::string_view(content))});
  }
  return items;
}

result<> warm_up(const pipeline& what, const toolbox& tools, const std::vector<work_item>& items) {
  std::vector<result<>> outcomes(tools.lanes());
  std::vector<std::thread> lanes;
  for (std::uint32_t lane = 0; lane < tools.lanes(); ++lane)
    lanes.emplace_back([&, lane] {
      for (const auto& item : items) {
        item_run run(tools, lane);
        if (auto read = what.run(run, item.data); !read.ok()) {
          outcomes[lane] = error{read.error().code, item.truth.file.string() + ": " + read.error().message, {}};
          return;
        }
      }
    });
  for (auto& lane : lanes)
    lane.join();
  for (const auto& outcome : outcomes)
    SQUALL_TRY(outcome);
  return {};
}

result<pass_result> run_pass(const pipeline& what, const toolbox& tools, const std::vector<work_item>& items,
                             std::uint32_t threads) {
  pass_result pass;
  pass.readings.resize(items.size());
  pass.latencies_ms.resize(items.size());
  pass.model_times.resize(items.size());
  std::atomic<std::size_t> next{0};
  std::vector<result<>> outcomes(threads);
  const auto work = [&](std::uint32_t lane) {
    for (std::size_t i = next++; i < items.size(); i = next++) {
      item_run run(tools, lane);
      const auto start = steady::now();
      auto read = what.run(run, items[i].data);
      pass.latencies_ms[i] = milliseconds(steady::now() - start);
      pass.model_times[i] = run.model_times();
      if (!read.ok()) {
        outcomes[lane] = error{read.error().code, items[i].truth.file.string() + ": " + read.error().message, {}};
        return;
      }
      pass.readings[i] = std::move(*read);
    }
  };
  const auto start = steady::now();
  std::vector<std::thread> lanes;
  for (std::uint32_t lane = 0; lane < threads; ++lane)
    lanes.emplace_back(work, lane);
  for (auto& lane : lanes)
    lane.join();
  pass.seconds = std::chrono::duration<double>(steady::now() - start).count();
  for (const auto& outcome : outcomes)
    SQUALL_TRY(outcome);
  return pass;
}

} // namespace squall::bench
