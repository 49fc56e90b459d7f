#include "client/spec_file.hpp"
#include "functions/builtin/builtin.hpp"
#include "functions/dag.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>

/// Every spec file of examples/ is read, completed and compiled, as a cluster would; only the models' content is not
/// needed for that.
namespace squall::client {
namespace {

namespace fs = std::filesystem;

const fs::path examples = fs::path{SQUALL_SOURCE_DIR} / "examples";

/// A copy of examples/ beside which every model that a spec names exists, with nothing in it.
class copied_examples {
public:
  copied_examples() {
    char name[] = "/tmp/squall-examples-XXXXXX";
    folder_ = ::mkdtemp(name);
    fs::create_directories(folder_ / "examples");
    for (const auto& file : fs::directory_iterator(examples))
      if (file.is_regular_file())
        fs::copy(file, folder_ / "examples");
    const std::regex path{R"(\.\./[A-Za-z0-9_./-]+)"};
    for (const auto& spec : specs()) {
      std::ifstream in{spec};
      const std::string text{std::istreambuf_iterator<char>{in}, {}};
      for (std::sregex_iterator at{text.begin(), text.end(), path}, end; at != end; ++at) {
        const fs::path file = folder_ / "examples" / at->str();
        fs::create_directories(file.parent_path());
        std::ofstream{file} << at->str();
      }
    }
  }
  ~copied_examples() { fs::remove_all(folder_); }
  copied_examples(const copied_examples&) = delete;
  copied_examples& operator=(const copied_examples&) = delete;

  [[nodiscard]] std::vector<fs::path> specs() const {
    std::vector<fs::path> found;
    for (const auto& file : fs::directory_iterator(folder_ / "examples"))
      if (file.path().extension() == ".yaml" && file.path().filename() != "cluster.yaml")
        found.push_back(file.path());
    std::ranges::sort(found);
    return found;
  }

private:
  fs::path folder_;
};

/// The functions of all files, completed and numbered. Files may share functions, if they say the same of them.
class small_catalogue {
public:
  result<> add(const functions::function_spec& spec) {
    SQUALL_ASSIGN(complete, functions::builtins::complete(spec));
    SQUALL_TRY(functions::validate(complete));
    if (const auto before = by_name_.find(complete.name); before != by_name_.end() && before->second.spec != complete)
      return {errc::already_exists, "another file has another function '" + complete.name + "'"};
    functions::registered_function f{function_id{++last_}, std::move(complete), {}};
    for (std::size_t i = 0; i < f.spec.variants.size(); ++i)
      f.variants.push_back(variant_id{++last_});
    by_name_[f.spec.name] = std::move(f);
    return {};
  }
  [[nodiscard]] functions::function_lookup lookup() const {
    return [this](std::string_view name, std::uint32_t) -> const functions::registered_function* {
      const auto found = by_name_.find(name);
      return found == by_name_.end() ? nullptr : &found->second;
    };
  }

private:
  std::uint64_t last_ = 0;
  std::map<std::string, functions::registered_function, std::less<>> by_name_;
};

TEST(ExampleSpecs, AllAreReadCompletedAndCompiledTogether) {
  const copied_examples copy;
  ASSERT_GE(copy.specs().size(), 6u);
  small_catalogue catalogue;
  std::vector<spec_document> dags;
  for (const fs::path& spec : copy.specs()) {
    auto documents = load_spec_file(spec);
    ASSERT_TRUE(documents.ok()) << documents.error().message;
    for (spec_document& document : *documents) {
      if (const auto* function = std::get_if<functions::function_spec>(&document.spec)) {
        const auto added = catalogue.add(*function);
        ASSERT_TRUE(added.ok()) << document.where << ": " << added.error().message;
      } else {
        dags.push_back(std::move(document));
      }
    }
  }
  for (std::size_t i = 0; i < dags.size(); ++i) {
    const auto compiled =
        functions::compile(std::get<functions::dag_spec>(dags[i].spec), dag_id{i + 1}, catalogue.lookup());
    ASSERT_TRUE(compiled.ok()) << dags[i].where << ": " << compiled.error().message;
  }
  EXPECT_GE(dags.size(), 6u);
}

} // namespace
} // namespace squall::client
