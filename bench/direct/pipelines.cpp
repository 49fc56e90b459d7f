#include "bench/direct/pipelines.hpp"

#include <algorithm>

namespace squall::bench {

namespace {

using functions::elements_of;
using functions::value;

constexpr double sure_of_line = 0.97; ///< mean probability of characters from which the small model's text stands
constexpr double sure_of_type = 0.8;

/// MIME types that libmagic gets right nearly always, and magika's names for them.
constexpr auto trusted_types =
    "image/png png\nimage/gif gif\nimage/jpeg jpeg\nimage/webp webp\nimage/bmp bmp\n"
    "application/gzip gzip\napplication/x-xz xz\napplication/x-bzip2 bzip\napplication/pdf pdf\n"
    "application/x-sharedlib elf\napplication/x-object elf\napplication/x-executable elf\n"
    "application/x-pie-executable elf\napplication/x-bytecode.python pythonbytecode\n"
    "application/vnd.debian.binary-package deb\naudio/x-wav wav\n";

std::string dictionary_of(const std::string& model) { return model + ".dict.txt"; }

std::string first_text_of(const value& v) {
  const auto text = functions::first_text(v);
  return text.ok() ? std::string(*text) : std::string();
}

double first_number_of(const value& v) {
  const auto number = functions::first_number(v);
  return number.ok() ? *number : 0;
}

/// Text and confidence of a line's tensor.
result<port_values> recognise(item_run& run, const std::string& model, const value& x) {
  SQUALL_ASSIGN(best, run.model(model, {x}));
  return run.builtin("text of " + model, best);
}

result<> add_recogniser(toolbox& tools, const std::string& model, const std::string& precision) {
  SQUALL_TRY(tools.add_model(model, model, precision));
  return tools.add_builtin("text of " + model, "ctc-collapse", {{"dictionary", dictionary_of(model)}});
}

result<> add_line_input(toolbox& tools) {
  SQUALL_TRY(tools.add_builtin("decode", "decode-image", {}));
  return tools.add_builtin("line", "line-tensor", {});
}

result<value> line_input(item_run& run, const value& data) {
  SQUALL_ASSIGN(picture, run.builtin("decode", {data}));
  SQUALL_ASSIGN(x, run.builtin("line", picture));
  return x[0];
}

class one_recogniser final : public pipeline {
public:
  one_recogniser(std::string model, std::string precision)
      : model_(std::move(model)), precision_(std::move(precision)) {}
  result<> prepare(toolbox& tools) override {
    SQUALL_TRY(add_line_input(tools));
    return add_recogniser(tools, model_, precision_);
  }
  result<reading> run(item_run& run, const value& data) const override {
    SQUALL_ASSIGN(x, line_input(run, data));
    SQUALL_ASSIGN(text, recognise(run, model_, x));
    return reading{first_text_of(text[0]), {}, 0};
  }

private:
  const std::string model_;
  const std::string precision_;
};

class cascade final : public pipeline {
public:
  explicit cascade(std::string precision) : precision_(std::move(precision)) {}
  result<> prepare(toolbox& tools) override {
    SQUALL_TRY(add_line_input(tools));
    SQUALL_TRY(add_recogniser(tools, "rec-v6-tiny", precision_));
    return add_recogniser(tools, "rec-v6-small", precision_);
  }
  result<reading> run(item_run& run, const value& data) const override {
    SQUALL_ASSIGN(x, line_input(run, data));
    SQUALL_ASSIGN(fast, recognise(run, "rec-v6-tiny", x));
    if (first_number_of(fast[1]) >= sure_of_line)
      return reading{first_text_of(fast[0]), {}, 2}; // the large model and its decoding
    SQUALL_ASSIGN(sure, recognise(run, "rec-v6-small", x));
    return reading{first_text_of(sure[0]), {}, 0};
  }

private:
  const std::string precision_;
};

class ensemble final : public pipeline {
public:
  explicit ensemble(std::string precision) : precision_(std::move(precision)) {}
  result<> prepare(toolbox& tools) override {
    SQUALL_TRY(add_line_input(tools));
    for (const auto* model : members)
      SQUALL_TRY(add_recogniser(tools, model, precision_));
    return tools.add_builtin("vote", "vote", {});
  }
  result<reading> run(item_run& run, const value& data) const override {
    SQUALL_ASSIGN(x, line_input(run, data));
    port_values votes(8); // four members of text and confidence; the fourth is absent
    for (std::size_t i = 0; i < std::size(members); ++i) {
      SQUALL_ASSIGN(text, recognise(run, members[i], x));
      votes[2 * i] = text[0];
      votes[2 * i + 1] = text[1];
    }
    SQUALL_ASSIGN(verdict, run.builtin("vote", votes));
    return reading{first_text_of(verdict[0]), {}, 0};
  }

private:
  static constexpr const char* members[] = {"rec-v6-small", "rec-v6-tiny", "rec-v5"};
  const std::string precision_;
};

class document_reader final : public pipeline {
public:
  explicit document_reader(std::string precision) : precision_(std::move(precision)) {}
  result<> prepare(toolbox& tools) override {
    SQUALL_TRY(add_line_input(tools));
    SQUALL_TRY(tools.add_builtin("page", "page-tensor", {{"side", "640"}}));
    SQUALL_TRY(tools.add_model("det-v6-tiny", "det-v6-tiny", precision_));
    SQUALL_TRY(tools.add_builtin("boxes", "text-boxes", {}));
    SQUALL_TRY(tools.add_builtin("crops", "crop-quads", {}));
    SQUALL_TRY(tools.add_builtin("direction", "direction-tensor", {}));
    SQUALL_TRY(tools.add_model("cls-v5", "cls-v5", precision_));
    SQUALL_TRY(tools.add_builtin("vote", "vote-direction", {}));
    SQUALL_TRY(tools.add_builtin("turn", "rotate-crops", {}));
    SQUALL_TRY(tools.add_builtin("merge", "merge-text", {}));
    return add_recogniser(tools, "rec-v6-small", precision_);
  }

  result<reading> run(item_run& run, const value& data) const override {
    SQUALL_ASSIGN(picture, run.builtin("decode", {data}));
    SQUALL_ASSIGN(page, run.builtin("page", picture));
    SQUALL_ASSIGN(map, run.model("det-v6-tiny", {page[0]}));
    SQUALL_ASSIGN(boxes, run.builtin("boxes", {map[0], page[1]}));
    SQUALL_ASSIGN(crops, run.builtin("crops", {picture[0], boxes[0]}));
    SQUALL_ASSIGN(turned, direction(run, crops[0]));
    SQUALL_ASSIGN(upright, run.builtin("turn", {crops[0], turned, boxes[0]}));
    functions::value_list texts;
    for (const auto& crop : *upright[0].as_list()) {
      SQUALL_ASSIGN(x, run.builtin("line", {crop}));
      SQUALL_ASSIGN(text, recognise(run, "rec-v6-small", x[0]));
      texts.push_back(text[0]);
    }
    SQUALL_ASSIGN(merged, run.builtin("merge", {value{texts}, upright[1]}));
    return reading{first_text_of(merged[0]), lines_of(texts, *upright[1].as_tensor()), 0};
  }

private:
  static result<value> direction(item_run& run, const value& crops) {
    functions::value_list probabilities;
    for (const auto& crop : *crops.as_list()) {
      SQUALL_ASSIGN(x, run.builtin("direction", {crop}));
      SQUALL_ASSIGN(sides, run.model("cls-v5", x));
      probabilities.push_back(sides[0]);
    }
    SQUALL_ASSIGN(turned, run.builtin("vote", {value{std::move(probabilities)}}));
    return turned[0];
  }

  static std::vector<text_line> lines_of(const functions::value_list& texts, const functions::tensor& quads) {
    const auto corners = elements_of<float>(quads);
    std::vector<text_line> lines;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const auto quad = corners.subspan(8 * i, 8);
      const auto [x0, x1] = std::minmax({quad[0], quad[2], quad[4], quad[6]});
      const auto [y0, y1] = std::minmax({quad[1], quad[3], quad[5], quad[7]});
      lines.push_back({first_text_of(texts[i]), {x0, y0, x1, y1}});
    }
    return lines;
  }

  const std::string precision_;
};

/// Label and probability of magika's answer for the tensor of a file.
result<port_values> classify(item_run& run, const std::string& model, const value& x) {
  SQUALL_ASSIGN(scores, run.model(model, {x}));
  SQUALL_ASSIGN(best, run.builtin("best", scores));
  SQUALL_ASSIGN(label, run.builtin("label", {best[0]}));
  return port_values{label[0], best[1]};
}

result<> add_classifier(toolbox& tools, const std::vector<std::string>& precisions) {
  SQUALL_TRY(tools.add_builtin("features", "file-features", {}));
  SQUALL_TRY(tools.add_builtin("best", "argmax", {}));
  SQUALL_TRY(tools.add_builtin("label", "label", {{"labels", "magika.labels.txt"}}));
  for (const auto& precision : precisions)
    SQUALL_TRY(tools.add_model("magika " + precision, "magika", precision));
  return {};
}

class one_classifier final : public pipeline {
public:
  explicit one_classifier(std::string precision) : precision_(std::move(precision)) {}
  result<> prepare(toolbox& tools) override { return add_classifier(tools, {precision_}); }
  result<reading> run(item_run& run, const value& data) const override {
    SQUALL_ASSIGN(x, run.builtin("features", {data}));
    SQUALL_ASSIGN(type, classify(run, "magika " + precision_, x[0]));
    return reading{first_text_of(type[0]), {}, 0};
  }

private:
  const std::string precision_;
};

class file_type final : public pipeline {
public:
  explicit file_type(std::string trusted) : trusted_(std::move(trusted)) {}
  result<> prepare(toolbox& tools) override {
    SQUALL_TRY(tools.add_builtin("magic", "file-magic",
                                 {{"trusted", std::string(functions::builtins::inline_prefix) + trusted_}}));
    return add_classifier(tools, {"bf16", "f32"});
  }
  result<reading> run(item_run& run, const value& data) const override {
    SQUALL_ASSIGN(magic, run.builtin("magic", {data}));
    if (first_number_of(magic[1]) != 0)
      return reading{first_text_of(magic[0]), {}, 5}; // features, and model and label of both precisions
    SQUALL_ASSIGN(x, run.builtin("features", {data}));
    SQUALL_ASSIGN(fast, classify(run, "magika bf16", x[0]));
    if (first_number_of(fast[1]) >= sure_of_type)
      return reading{first_text_of(fast[0]), {}, 3}; // the second model and its label, and picking the trusted type
    SQUALL_ASSIGN(sure, classify(run, "magika f32", x[0]));
    return reading{first_text_of(sure[0]), {}, 1};
  }

private:
  const std::string trusted_;
};

} // namespace

result<std::vector<row>> rows_of(const std::string& pipeline_name, const pipeline_options& options) {
  const auto& precision = options.precision;
  std::vector<row> rows;
  const auto add_recognisers = [&](std::initializer_list<const char*> models) {
    for (const auto* model : models)
      rows.push_back({model, precision, std::make_unique<one_recogniser>(model, precision)});
  };
  if (pipeline_name == "document-reader") {
    rows.push_back({"direct", precision, std::make_unique<document_reader>(precision)});
  } else if (pipeline_name == "read-line") {
    rows.push_back({"direct", precision, std::make_unique<cascade>(precision)});
    add_recognisers({"rec-v6-tiny", "rec-v6-small"});
  } else if (pipeline_name == "read-line-vote") {
    rows.push_back({"direct", precision, std::make_unique<ensemble>(precision)});
    add_recognisers({"rec-v6-small", "rec-v6-tiny", "rec-v5"});
  } else if (pipeline_name == "file-type") {
    rows.push_back(
        {"direct", "bf16+f32", std::make_unique<file_type>(options.trusted.empty() ? trusted_types : options.trusted)});
    for (const auto* alone : {"bf16", "f32"})
      rows.push_back({"magika", alone, std::make_unique<one_classifier>(alone)});
  } else {
    return {errc::invalid_argument, "there is no pipeline '" + pipeline_name +
                                        "'; document-reader, read-line, read-line-vote and file-type are"};
  }
  return rows;
}

} // namespace squall::bench
