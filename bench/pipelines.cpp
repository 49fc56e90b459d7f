// Items a second of the document reader, the cascade and the ensemble, served by a cluster of two nodes with a lane
// each, against the same models called directly in this process by two threads; all in bf16, where models take the
// least and serving shows the most. The line "pipelines" is the one that does worst.
#include "bench/calls/no_ops.hpp"
#include "bench/direct/passes.hpp"
#include "bench/running_cluster.hpp"
#include "bench/support.hpp"
#include "examples/demo/experiments.hpp"
#include "examples/demo/passes.hpp"
#include "examples/demo/serving.hpp"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

using namespace squall;
using namespace squall::bench;
namespace fs = std::filesystem;

namespace {

constexpr std::uint32_t lanes = 2;
constexpr std::size_t outstanding = 8;
constexpr int skipped = 77; ///< what ctest takes for it

const fs::path source_folder = SQUALL_SOURCE_DIR;
const fs::path build_folder = SQUALL_BUILD_DIR;
/// Where the examples' specs say that they are.
const fs::path model_folder = source_folder / "build" / "models";

/// Draws pictures, unless they were drawn before; their folder.
fs::path pictures(const std::string& kind, std::size_t count) {
  const auto folder = build_folder / "bench" / (kind + "-" + std::to_string(count));
  if (fs::exists(folder / "truth.json"))
    return folder;
  const std::string command = SQUALL_VENV_DIR "/bin/python '" + (source_folder / "examples/demo/render.py").string() +
                              "' " + kind + " --count " + std::to_string(count) + " --seed 7 --out '" +
                              folder.string() + "' >&2";
  if (std::system(command.c_str()) != 0)
    fail({errc::failed, "the pictures cannot be drawn", {}});
  return folder;
}

/// The pipeline in the cluster.
class served {
public:
  served(client::cluster& cluster, const demo::experiment& what, const fs::path& folder)
      : cluster_(cluster), dag_(what.dag) {
    demo::catalogue known;
    or_fail(demo::apply(cluster, source_folder / "examples" / what.spec_file, known));
    for (auto& sample : or_fail(demo::read_samples(folder, 0)))
      inputs_.push_back(std::move(sample.inputs));
    for (std::uint32_t i = 0; i < lanes; ++i) // every lane has seen every width
      per_second();
  }

  double per_second() const {
    const auto pass = or_fail(demo::run_pass(cluster_, dag_, inputs_, outstanding));
    return static_cast<double>(inputs_.size()) * 1e9 / static_cast<double>(pass.wall.count());
  }

private:
  client::cluster& cluster_;
  const std::string dag_;
  std::vector<demo::call_inputs> inputs_;
};

/// The pipeline in this process.
class direct {
public:
  direct(const demo::experiment& what, const fs::path& folder)
      : tools_(model_folder, lanes), items_(or_fail(read_items(folder, 0))) {
    auto rows = or_fail(rows_of(what.pipeline, {what.precision, ""}));
    pipeline_ = std::move(rows.front().pipeline);
    or_fail(pipeline_->prepare(tools_));
    per_second();
  }

  double per_second() const {
    const auto pass = or_fail(run_pass(*pipeline_, tools_, items_, lanes));
    return static_cast<double>(items_.size()) / pass.seconds;
  }

private:
  toolbox tools_;
  std::vector<work_item> items_;
  std::unique_ptr<pipeline> pipeline_;
};

} // namespace

int main(int argc, char** argv) {
  const settings s = parse(argc, argv);
  if (!fs::exists(model_folder / "rec-v6-tiny.onnx")) {
    std::fprintf(stderr, "bench-pipelines: skipped, the models are not there: run ./dev build\n");
    return skipped;
  }
  const running_cluster cluster{lanes, "balance"};
  const auto client = connect_with_no_ops(cluster);
  std::optional<comparison> worst;
  fnv1a work;
  for (const auto& what : demo::experiments()) {
    if (what.precision != "bf16")
      continue;
    const bool pages = what.material == demo::material::pages;
    const auto folder = pages ? pictures("pages", s.size(8, 2)) : pictures("lines", s.size(64, 4));
    const served ours{*client, what, folder};
    const direct reference{what, folder};
    const auto c = compare(
        s.size(5, 1), [&] { return ours.per_second(); }, [&] { return reference.per_second(); });
    fnv1a work_of_it;
    work_of_it.add(what.dag);
    work_of_it.add(folder.filename().string());
    work.add(work_of_it.value());
    report(s, "pipelines-" + what.pipeline, c, "items/s", work_of_it);
    if (!worst || c.ours / c.reference < worst->ours / worst->reference)
      worst = c;
  }
  report(s, "pipelines", *worst, "items/s", work);
}
