/* Loads a SavedModel as a C++ server does, with no Python, runs it once and prints one output, a row a line.
 *
 *   load_and_run FOLDER OUTPUT OP_LIBRARIES INPUT ROWS FILE... [INPUT ROWS FILE...]
 *
 * FOLDER is the SavedModel; OUTPUT the float output, as its signature names it, such as StatefulPartitionedCall:2;
 * OP_LIBRARIES a glob of libraries to load first. Each INPUT is a string placeholder, such as serving_default_text,
 * and gets the contents of ROWS files. */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tensorflow/c/c_api.h>

static void check(TF_Status *status, const char *what) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "%s: %s\n", what, TF_Message(status));
  exit(1);
}

/* Returns the operation of "name:index" in the graph, or ends the program. */
static TF_Output find(TF_Graph *graph, char *name) {
  char *colon = strchr(name, ':');
  if (colon) *colon = 0;
  TF_Output found = {TF_GraphOperationByName(graph, name), colon ? atoi(colon + 1) : 0};
  if (found.oper) return found;
  fprintf(stderr, "no operation %s\n", name);
  exit(1);
}

static void read_file(const char *path, TF_TString *string) {
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END)) exit(1);
  size_t size = ftell(file);
  char *content = malloc(size + 1);
  rewind(file);
  if (fread(content, 1, size, file) != size) exit(1);
  fclose(file);
  TF_StringInit(string);
  TF_StringCopy(string, content, size);
  free(content);
}

int main(int argc, char **argv) {
  if (argc < 6) return 2;
  TF_Status *status = TF_NewStatus();
  glob_t libraries;
  if (glob(argv[3], 0, NULL, &libraries) == 0)
    for (size_t i = 0; i < libraries.gl_pathc; i++) {
      TF_LoadLibrary(libraries.gl_pathv[i], status);
      check(status, libraries.gl_pathv[i]);
    }
  TF_Graph *graph = TF_NewGraph();
  const char *tags[] = {"serve"};
  TF_Session *session =
      TF_LoadSessionFromSavedModel(TF_NewSessionOptions(), NULL, argv[1], tags, 1, graph, NULL, status);
  check(status, argv[1]);

  TF_Output inputs[8], output = find(graph, argv[2]);
  TF_Tensor *values[8], *result;
  int count = 0;
  for (int i = 4; i + 1 < argc && count < 8; count++) {
    inputs[count] = find(graph, argv[i]);
    int64_t rows = atoi(argv[i + 1]);
    values[count] = TF_AllocateTensor(TF_STRING, &rows, 1, rows * sizeof(TF_TString));
    TF_TString *strings = TF_TensorData(values[count]);
    for (int64_t row = 0; row < rows; row++) read_file(argv[i + 2 + row], &strings[row]);
    i += 2 + rows;
  }
  TF_SessionRun(session, NULL, inputs, values, count, &output, &result, 1, NULL, 0, NULL, status);
  check(status, "run");

  float *numbers = TF_TensorData(result);
  int64_t columns = TF_Dim(result, 1);
  for (int64_t i = 0; i < TF_TensorElementCount(result); i++)
    printf("%.9g%c", numbers[i], (i + 1) % columns ? ' ' : '\n');
  return 0;
}
