#include "calls/json.hpp"
#include "client/cli/verbs.hpp"
#include "tests/client/fake_server.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <unistd.h>

namespace squall::client::cli {
namespace {

using testing::fake_server;

struct outcome {
  int status = 0;
  std::string out;
  std::string err;
};

/// A stream into a string.
class captured {
public:
  captured() : stream_(::open_memstream(&text_, &size_)) {}
  ~captured() {
    std::fclose(stream_);
    std::free(text_);
  }
  captured(const captured&) = delete;
  captured& operator=(const captured&) = delete;
  [[nodiscard]] std::FILE* stream() const { return stream_; }
  [[nodiscard]] std::string text() const {
    std::fflush(stream_);
    return {text_, size_};
  }

private:
  char* text_ = nullptr;
  std::size_t size_ = 0;
  std::FILE* stream_;
};

/// Runs a command line in this process, as the program would.
outcome run(std::vector<std::string> words, const std::string& standard_input = {}) {
  CLI::App app{"test"};
  app.name("squall");
  app.require_subcommand(1);
  app.fallthrough();
  captured out, err;
  std::string input = standard_input.empty() ? "unused" : standard_input;
  std::FILE* in = ::fmemopen(input.data(), input.size(), "r");
  int status = 0;
  verb_context context{status, out.stream(), err.stream(), in};
  add_client_verbs(app, context);
  outcome result;
  try {
    std::reverse(words.begin(), words.end());
    app.parse(words);
    result.status = status;
  } catch (const CLI::ParseError& e) {
    std::ostringstream usage, problem;
    result.status = app.exit(e, usage, problem) == 0 ? 0 : 2;
    result.out = usage.str();
    result.err = problem.str();
  }
  std::fclose(in);
  result.out += out.text();
  result.err += err.text();
  return result;
}

/// A fake cluster that has a DAG `read` of an image and a number, and knows one call.
class CliTest : public ::testing::Test {
protected:
  CliTest() {
    ::unsetenv("SQUALL_OUTPUT");
    ::setenv("SQUALL_CONFIG", (folder_ / "config.yaml").c_str(), 1);
    ::setenv("XDG_RUNTIME_DIR", folder_.c_str(), 1);
    ::setenv("SQUALL_CLUSTER", server_.endpoint().c_str(), 1);
    server_.on_query = [](const wire::query& q) { return answer(q); };
  }
  void TearDown() override {
    std::filesystem::remove_all(folder_);
    ::unsetenv("SQUALL_CLUSTER");
  }

  static wire::reply answer(const wire::query& q) {
    const std::string key = q.kind + "/" + q.name;
    if (key == "dags/read")
      return body(R"({"name": "read", "version": 1, "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1]},
        {"name": "n", "datatype": "INT32", "shape": [1], "optional": true}, {"name": "crops", "datatype": "UINT8", "shape": [-1, 2], "list": true,
        "optional": true}], "outputs": ["image"], "stages": [{"name": "a"}, {"name": "b"}]})");
    if (key == "dags/")
      return body(
          R"([{"name": "read", "version": 1, "inputs": [{"name": "image"}, {"name": "n"}], "outputs": ["text"], "stages": [1, 2]}])");
    if (key == "functions/")
      return body(R"([{"name": "echo", "version": 2}])");
    if (key == "policy/")
      return body(R"({"name": "fifo"})");
    if (q.kind == "calls" && q.name == "17")
      return body(
          R"({"id": "17", "dag": "read", "version": 1, "state": "ok", "message": "", "elapsed_ns": 12345678, "ago_ns": 5, "trace": [
        {"stage": "a", "node": "n1", "lane": "1", "skipped": false, "failed": false, "width": 1, "batch": 2, "begin_ns": 1000, "queued_ns": 2000,
         "loading_ns": 0, "executed_ns": 5000000, "bytes_in": 1024, "bytes_out": 10, "bytes_moved": 0},
        {"stage": "b", "node": "n1", "lane": "0", "skipped": true, "failed": false, "width": 1, "batch": 1, "begin_ns": 0, "queued_ns": 0,
         "loading_ns": 0, "executed_ns": 0, "bytes_in": 0, "bytes_out": 0, "bytes_moved": 0}]})");
    return {errc::not_found, "there is no " + q.kind + " '" + q.name + "'", {}, {}};
  }
  static wire::reply body(std::string json) { return {errc::ok, {}, {}, std::move(json)}; }

  std::string file(const std::string& name, std::string_view content) const {
    std::ofstream{folder_ / name, std::ios::binary} << content;
    return (folder_ / name).string();
  }

  static std::filesystem::path make_folder() {
    char name[] = "/tmp/squall-cli-XXXXXX";
    return ::mkdtemp(name);
  }
  std::filesystem::path folder_ = make_folder();
  fake_server server_;
};

TEST_F(CliTest, WrongUsageEndsWithTwoAndSaysWhatWasMeant) {
  const auto verb = run({"aply"});
  EXPECT_EQ(verb.status, 2);
  EXPECT_EQ(verb.err,
            "squall: unknown verb 'aply'; did you mean 'apply'? verbs: apply, get, describe, delete, call, kv, policy, "
            "drain, promises, explain, bench, build, version\n"
            "Try: squall --help\n");
  EXPECT_EQ(run({}).status, 2);
  EXPECT_EQ(run({"call"}).status, 2);
  EXPECT_EQ(run({"kv"}).status, 2);
  const auto nested = run({"kv", "gte", "x"});
  EXPECT_EQ(nested.status, 2);
  EXPECT_NE(nested.err.find("did you mean 'get'?"), std::string::npos) << nested.err;
  const auto flag = run({"call", "read", "--deadlin", "5ms"});
  EXPECT_EQ(flag.status, 2);
  EXPECT_NE(flag.err.find("unknown flag '--deadlin'; did you mean '--deadline'?"), std::string::npos) << flag.err;
  const auto kind = run({"get", "dgas"});
  EXPECT_EQ(kind.status, 2);
  EXPECT_NE(kind.err.find("unknown kind 'dgas'; did you mean 'dags'?"), std::string::npos) << kind.err;
  EXPECT_EQ(run({"get", "dags", "-o", "xml"}).status, 2);
  EXPECT_EQ(run({"call", "read", "--deadline", "soon"}).status, 2);
}

TEST_F(CliTest, HelpIsNoError) {
  const auto help = run({"call", "--help"});
  EXPECT_EQ(help.status, 0);
  EXPECT_NE(help.out.find("SQUALL_DEADLINE"), std::string::npos) << help.out;
}

TEST_F(CliTest, FlagsBeatTheEnvironmentWhichBeatsTheFile) {
  file("config.yaml", "output: yaml\ntimeout: 2s\n");
  EXPECT_TRUE(run({"get", "policy"}).out.starts_with("name: fifo"));
  EXPECT_EQ(run({"policy", "get"}).out, "name: fifo\n");
  ::setenv("SQUALL_OUTPUT", "json", 1);
  EXPECT_TRUE(run({"policy", "get"}).out.starts_with("{"));
  EXPECT_EQ(run({"policy", "get", "-o", "table"}).out, "fifo\n");
  ::unsetenv("SQUALL_OUTPUT");
}

TEST_F(CliTest, AMistakeInTheConfigurationFileIsNamed) {
  const std::string path = file("config.yaml", "ouput: yaml\n");
  const auto result = run({"policy", "get"});
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(
      result.err,
      "squall: " + path +
          ":1:8: ouput: unknown key 'ouput'; did you mean 'output'? keys: cluster, endpoint, keys, output, timeout "
          "(invalid_argument)\n");
}

TEST_F(CliTest, TheClusterIsFoundByItsFile) {
  ::unsetenv("SQUALL_CLUSTER");
  EXPECT_NE(run({"policy", "get"}).err.find("no cluster of yours runs on this host; start one with `squall up`"),
            std::string::npos);
  const auto run_folder = folder_ / ("squall-" + std::to_string(::getuid()));
  std::filesystem::create_directories(run_folder);
  std::ofstream{run_folder / "mine.json"} << R"({"endpoint": ")" << server_.endpoint() << R"(", "pid": )" << ::getpid()
                                          << R"(, "keys": "", "http": "", "data": "/x"})";
  EXPECT_EQ(run({"policy", "get"}).out, "fifo\n");
  EXPECT_EQ(run({"policy", "get", "--cluster", "mine"}).out, "fifo\n");
  EXPECT_NE(run({"policy", "get", "--cluster", "mien"}).err.find("unknown cluster 'mien'; did you mean 'mine'?"),
            std::string::npos);
  std::ofstream{run_folder / "dead.json"} << R"({"endpoint": "tcp://127.0.0.1:1", "pid": 4194303})";
  EXPECT_NE(run({"policy", "get", "--cluster", "dead"}).err.find("cluster 'dead' has died"), std::string::npos);
  EXPECT_NE(run({"policy", "get"}).err.find("several clusters run here: dead, mine"), std::string::npos);
}

TEST_F(CliTest, TablesJsonAndYaml) {
  EXPECT_EQ(run({"get", "dags"}).out,
            "NAME  VERSION  INPUTS    OUTPUTS  STAGES\n"
            "read        1  image, n  text          2\n");
  EXPECT_EQ(calls::json_document::parse(run({"get", "dags", "-o", "json"}).out).value().root().size(), 1u);
  EXPECT_EQ(run({"get", "dags", "-o", "yaml"}).out,
            "- name: read\n  version: 1\n  inputs:\n  - name: image\n  - name: n\n  outputs: [\"text\"]\n"
            "  stages: [1,2]\n");
}

TEST_F(CliTest, DescribeCallShowsTheTrace) {
  const auto result = run({"describe", "call", "17"});
  EXPECT_EQ(result.out,
            "call:    17\ndag:     read\nversion: 1\nstate:   ok\nelapsed: 12.3ms\n\n"
            "STAGE  NODE  LANE  WIDTH  BATCH  BEGIN  QUEUED  LOADING  EXECUTED    IN  OUT  MOVED  END\n"
            "a      n1       1      1      2    1us     2us        0       5ms  1KiB   10      0  ran\n"
            "b      n1       -      -      -      -       -        -         -     -    -      -  skipped\n");
}

TEST_F(CliTest, AnUnknownNameSuggestsTheNearest) {
  const auto result = run({"describe", "dag", "raed"});
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(result.err, "squall: unknown dag 'raed'; did you mean 'read'? dags: read (not_found)\n");
  EXPECT_EQ(run({"call", "eco"}).err,
            "squall: unknown name 'eco'; did you mean 'echo'? names: read, echo (not_found)\n");
}

TEST_F(CliTest, ACallPrintsItsOutputs) {
  const std::string path = file("page.png", "PNG");
  const auto text = run({"call", "read", "--input", "image=@" + path, "--input", "n=3"});
  EXPECT_EQ(text.status, 0) << text.err;
  EXPECT_EQ(text.out, "image: PNG\nn: INT32 [1] 3\n");
  const auto json = run({"call", "read", "-i", "image=@" + path, "-i", "n=3", "-o", "json", "--deadline", "80ms"});
  const auto document = calls::json_document::parse(json.out).value();
  EXPECT_TRUE(document.root().find("call")->as_string());
  EXPECT_EQ(document.root().find("state")->as_string(), "ok");
  EXPECT_EQ(document.root().find("outputs")->find("n")->find("data")->element(0).as_int64(), 3);
  EXPECT_TRUE(document.root().find("trace"));
}

TEST_F(CliTest, InputsComeFromStandardInputAndAsLists) {
  const auto in = run({"call", "read", "-i", "image=-"}, "hello");
  EXPECT_EQ(in.out, "image: hello\n") << in.err;
  const auto list = run({"call", "read", "-i", "image=x", "-i", "crops=[[1,2]]", "-i", "crops=[3,4,5,6]"});
  EXPECT_EQ(list.out, "image: x\ncrops: 2 elements: UINT8 [1,2] 1, 2; UINT8 [2,2] 3, 4, 5, 6\n") << list.err;
}

TEST_F(CliTest, InputsThatDoNotFitAreNamed) {
  const auto error = [](std::vector<std::string> inputs) {
    std::vector<std::string> words{"call", "read"};
    for (const std::string& input : inputs) {
      words.push_back("--input");
      words.push_back(input);
    }
    const auto result = run(words);
    EXPECT_EQ(result.status, 1);
    return result.err;
  };
  EXPECT_EQ(error({}),
            "squall: the input 'image' is missing (BYTES [1]); give it with --input image=... (invalid_argument)\n");
  EXPECT_EQ(error({"imgae=x"}),
            "squall: unknown input 'imgae'; did you mean 'image'? inputs: image, n, crops (invalid_argument)\n");
  EXPECT_EQ(error({"image=@/nowhere"}), "squall: input 'image': no file /nowhere (not_found)\n");
  EXPECT_EQ(error({"image=x", "n=many"}),
            "squall: input 'n': expected INT32 [1], not 'many' (@FILE reads a file) (invalid_argument)\n");
  EXPECT_EQ(error({"image=x", "n=[1,2]"}),
            "squall: input 'n': expected INT32 [1], got 2 elements of shape [2] (invalid_argument)\n");
  EXPECT_NE(error({"image=x", "n=4000000000"}).find("input 'n': expected INT32 [1]"), std::string::npos);
  EXPECT_EQ(error({"image=x", "image=y"}), "squall: input 'image' is given twice, and is no list (invalid_argument)\n");
  EXPECT_EQ(error({"image"}), "squall: --input image: expected NAME=VALUE (invalid_argument)\n");
}

TEST_F(CliTest, AFailedCallEndsWithOne) {
  server_.on_call = [](fake_server& s, wire::route from, const wire::call_request& call) {
    wire::call_result result;
    result.call = call.call;
    result.outcome.code = errc::deadline_exceeded;
    result.outcome.message = "the deadline of 5 ms passed";
    s.send(from, result, request_id{call.call.value});
  };
  const auto result = run({"call", "read", "-i", "image=x", "-o", "json"});
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(result.err, "squall: the deadline of 5 ms passed (deadline_exceeded)\n");
  EXPECT_EQ(calls::json_document::parse(result.out).value().root().find("state")->as_string(), "deadline_exceeded");
}

TEST_F(CliTest, ApplyUploadsWhatIsMissingAndRegistersFunctionsFirst) {
  file("m.onnx", "model");
  const std::string spec =
      file("s.yaml",
           "apiVersion: squall/v1\nkind: Dag\nmetadata: {name: d}\nspec: {stages: [{name: s, function: f}]}\n---\n"
           "apiVersion: squall/v1\nkind: Function\nmetadata: {name: f}\nspec:\n"
           "  outputs: {y: {datatype: FP32, shape: [1]}}\n  variants: [{model: ./m.onnx}]\n");
  const auto result = run({"apply", "-f", spec});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out, "function f applied\ndag d applied\n");
  auto record = server_.record();
  ASSERT_EQ(record.values.size(), 1u);
  EXPECT_EQ(record.values.begin()->second, "model");
  EXPECT_EQ(record.functions.at(0).variants.at(0).target, record.values.begin()->first);
  EXPECT_EQ(run({"apply", "-f", spec}).status, 0);
  EXPECT_EQ(server_.record().store_pieces, 1u);
  EXPECT_EQ(run({"apply", "--dry-run", "-f", spec}).out, "function f is well formed\ndag d is well formed\n");
  EXPECT_EQ(run({"apply", "-f", "/nowhere.yaml"}).status, 1);
  EXPECT_EQ(run({"apply"}).status, 2);
}

TEST_F(CliTest, KeysAreWrittenReadListedAndDeleted) {
  EXPECT_EQ(run({"kv", "put", "greeting", "hello"}).status, 0);
  EXPECT_EQ(run({"kv", "get", "greeting"}).out, "hello");
  EXPECT_EQ(run({"kv", "put", "blob", "-"}, "from stdin").status, 0);
  EXPECT_EQ(run({"kv", "get", "blob"}).out, "from stdin");
  EXPECT_EQ(run({"kv", "put", "blob", "@" + file("b", std::string(3'000'000, 'b'))}).status, 0);
  EXPECT_EQ(run({"kv", "get", "blob", "--to", (folder_ / "c").string()}).status, 0);
  EXPECT_EQ(std::filesystem::file_size(folder_ / "c"), 3'000'000u);
  EXPECT_EQ(run({"kv", "list"}).out, "KEY          SIZE\nblob      2.86MiB\ngreeting        5\n");
  EXPECT_EQ(run({"get", "keys", "gr", "-o", "yaml"}).out, "- key: greeting\n  size_bytes: 5\n  version: 1\n");
  EXPECT_EQ(run({"kv", "delete", "greeting"}).status, 0);
  EXPECT_EQ(run({"kv", "get", "greeting"}).status, 1);
  std::filesystem::resize_file(folder_ / "b", 300u << 20);
  const auto huge = run({"kv", "put", "blob", "@" + (folder_ / "b").string()});
  EXPECT_EQ(huge.status, 1);
  EXPECT_NE(huge.err.find("the limit of a value is 268435456 bytes (256MiB)"), std::string::npos) << huge.err;
}

TEST_F(CliTest, DeleteTakesAVersion) {
  EXPECT_EQ(run({"delete", "dag", "read@2"}).out, "dag read@2 deleted\n");
  EXPECT_EQ(run({"delete", "functions", "echo"}).status, 0);
  const auto record = server_.record();
  EXPECT_EQ(record.removed.at(0).version, 2u);
  EXPECT_EQ(record.removed.at(1).kind, "function");
  EXPECT_EQ(run({"delete", "dag", "read@x"}).status, 1);
  EXPECT_EQ(run({"delete", "nodes", "n1"}).err,
            "squall: nodes cannot be deleted; functions, dags and keys can (invalid_argument)\n");
}

TEST_F(CliTest, VersionWorksWithAndWithoutACluster) {
  const auto with = run({"version"});
  EXPECT_NE(with.out.find("server: \"squall 9.9 fake\""), std::string::npos) << with.out;
  ::setenv("SQUALL_CLUSTER", "tcp://127.0.0.1:1", 1);
  const auto without = run({"version", "--timeout", "100ms"});
  EXPECT_EQ(without.status, 0);
  EXPECT_NE(without.out.find("no_cluster:"), std::string::npos) << without.out;
}

TEST_F(CliTest, NoClusterEndsWithOne) {
  const auto result = run({"get", "dags", "--cluster", "tcp://127.0.0.1:1", "--timeout", "100ms"});
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(result.err, "squall: cannot connect to tcp://127.0.0.1:1: no answer within 100 ms (unavailable)\n");
}

TEST_F(CliTest, BenchCountsEveryCall) {
  for (const char* kind : {"constant", "poisson", "closed"}) {
    const auto result = run({"bench", "read", "-i", "image=x", "--rate", "500", "--duration", "0.4", "--arrivals", kind,
                             "--concurrency", "4", "-o", "json"});
    EXPECT_EQ(result.status, 0) << result.err;
    const auto document = calls::json_document::parse(result.out).value();
    const auto number = [&](std::string_view key) { return document.root().find(key)->as_double().value(); };
    EXPECT_EQ(number("sent"), number("completed")) << result.out;
    EXPECT_GT(number("sent"), 100) << result.out;
    EXPECT_EQ(document.root().find("errors")->size(), 0u);
    const auto latency = document.root().find("latency_us");
    EXPECT_LE(latency->find("p50")->as_double(), latency->find("p99")->as_double());
    EXPECT_LE(latency->find("p99")->as_double(), latency->find("max")->as_double());
  }
}

TEST_F(CliTest, BenchCountsErrorsByCode) {
  server_.on_call = [](fake_server& s, wire::route from, const wire::call_request& call) {
    s.send(from, wire::reply{errc::overloaded, "full", {}, {}}, request_id{call.call.value});
  };
  const auto result = run({"bench", "read", "-i", "image=x", "--rate", "200", "--duration", "200ms", "--arrivals",
                           "constant", "-o", "json"});
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.out.find("\"overloaded\": 39"), std::string::npos) << result.out;
  EXPECT_EQ(result.err, "squall: no call succeeded: full (failed)\n");
  EXPECT_EQ(run({"bench", "read", "--rate", "0"}).status, 1);
  EXPECT_EQ(run({"bench", "read", "--arrivals", "often"}).status, 2);
}

} // namespace
} // namespace squall::client::cli
