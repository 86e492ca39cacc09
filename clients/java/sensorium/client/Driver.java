package sensorium.client;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.TypeRegistry;
import com.google.protobuf.util.JsonFormat;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorDetailsProto;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import com.google.rpc.Status;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientInterceptors;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.MethodDescriptor.PrototypeMarshaller;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import sensorium.v1.EmbedStreamRequest;
import sensorium.v1.EmbedStreamResponse;
import sensorium.v1.OrchestratorServiceGrpc;

import static java.nio.charset.StandardCharsets.UTF_8;

/**
 * The conformance driver: JSON cases on stdin, JSON answers on stdout, one a line, in order.
 *
 * <p>Usage: driver ADDRESS [--ca PEM] [--token TOKEN]
 */
public final class Driver {
  private static final JsonFormat.Printer PRINTER =
      JsonFormat.printer() // an Any is printed only where its type is known
          .usingTypeRegistry(TypeRegistry.newBuilder().add(ErrorDetailsProto.getDescriptor().getMessageTypes()).build());

  private final Channel channel;
  private final String token;

  private Driver(Channel channel, String token) {
    this.channel = channel;
    this.token = token;
  }

  public static void main(String[] args) throws IOException {
    String ca = null;
    String token = "";
    for (int i = 1; i + 1 < args.length; i += 2) {
      if (args[i].equals("--ca")) ca = args[i + 1];
      if (args[i].equals("--token")) token = args[i + 1];
    }
    var channel = Connection.open(args[0], ca);
    try {
      var driver = new Driver(channel, token);
      var in = new BufferedReader(new InputStreamReader(System.in, UTF_8));
      var out = new PrintStream(System.out, true, UTF_8); // flushes each line
      for (String line = in.readLine(); line != null; line = in.readLine()) out.println(driver.answer(line));
    } finally {
      channel.shutdownNow();
    }
  }

  /** Returns the answer to one line; one that cannot be sent at all is answered with UNKNOWN. */
  private JsonObject answer(String line) {
    String name = "";
    JsonObject answer;
    try {
      JsonObject test = JsonParser.parseString(line).getAsJsonObject();
      name = test.get("case").getAsString();
      answer = run(test);
    } catch (RuntimeException | IOException odd) {
      answer = new JsonObject();
      answer.addProperty("status", "UNKNOWN");
      answer.addProperty("message", "driver: " + odd);
    }
    answer.addProperty("case", name);
    return answer;
  }

  private JsonObject run(JsonObject test) throws IOException {
    var headers = new AtomicReference<Metadata>();
    var trailers = new AtomicReference<Metadata>();
    Channel observed =
        ClientInterceptors.intercept(
            channel,
            MetadataUtils.newAttachHeadersInterceptor(metadataOf(test)),
            MetadataUtils.newCaptureMetadataInterceptor(headers, trailers));
    var responses = new ArrayList<Message>();
    Status status = Status.getDefaultInstance();
    try {
      call(observed, test, responses);
    } catch (StatusRuntimeException failed) {
      status = Failure.of(failed);
    }
    var answer = new JsonObject();
    answer.addProperty("status", io.grpc.Status.fromCodeValue(status.getCode()).getCode().name());
    answer.addProperty("message", status.getMessage());
    var printed = new JsonArray();
    for (Message response : responses) printed.add(toJson(response));
    answer.add("responses", printed);
    answer.add("details", detailsOf(status));
    answer.add("metadata", merged(headers.get(), trailers.get()));
    return answer;
  }

  private void call(Channel observed, JsonObject test, List<Message> responses) throws IOException {
    long deadlineMs = test.has("deadline_ms") ? test.get("deadline_ms").getAsLong() : 10_000;
    MethodDescriptor<Message, Message> method = method(test.get("method").getAsString());
    var requests = new ArrayList<Message>();
    for (JsonElement request : test.getAsJsonArray("requests")) requests.add(fromJson(request, method));
    if (method.getType() == MethodType.UNARY) {
      var options = CallOptions.DEFAULT.withDeadlineAfter(deadlineMs, TimeUnit.MILLISECONDS);
      responses.add(ClientCalls.blockingUnaryCall(observed, method, options, requests.get(0)));
      return;
    }
    int wantedCount = test.has("cancel_after") ? test.get("cancel_after").getAsInt() : Integer.MAX_VALUE;
    EmbedStream.run(
        OrchestratorServiceGrpc.newStub(observed).withDeadlineAfter(deadlineMs, TimeUnit.MILLISECONDS),
        requests.stream().map(EmbedStreamRequest.class::cast).iterator(),
        (EmbedStreamResponse response) -> responses.add(response) && responses.size() < wantedCount);
  }

  /** Returns the method of a name; all of them take and return messages, which makes the cast safe. */
  @SuppressWarnings("unchecked")
  private static MethodDescriptor<Message, Message> method(String name) {
    return OrchestratorServiceGrpc.getServiceDescriptor().getMethods().stream()
        .filter(method -> method.getFullMethodName().equals(name))
        .map(method -> (MethodDescriptor<Message, Message>) method)
        .findFirst()
        .orElseThrow(() -> new IllegalArgumentException("no such method: " + name));
  }

  private static Message fromJson(JsonElement json, MethodDescriptor<Message, Message> method) throws IOException {
    var marshaller = (PrototypeMarshaller<Message>) method.getRequestMarshaller();
    Message.Builder request = marshaller.getMessagePrototype().newBuilderForType();
    JsonFormat.parser().merge(json.toString(), request);
    return request.build();
  }

  private static JsonObject toJson(Message message) throws InvalidProtocolBufferException {
    return JsonParser.parseString(PRINTER.print(message)).getAsJsonObject();
  }

  /** Returns the metadata to send. The token is among it, and not call credentials: a server may be seen to refuse it. */
  private Metadata metadataOf(JsonObject test) {
    var metadata = new Metadata();
    if (test.has("metadata")) {
      for (var entry : test.getAsJsonObject("metadata").entrySet()) metadata.put(key(entry.getKey()), entry.getValue().getAsString());
    }
    String sent = test.has("token") ? test.get("token").getAsString() : token;
    if (!sent.isEmpty()) metadata.put(key("authorization"), "Bearer " + sent);
    return metadata;
  }

  private static JsonArray detailsOf(Status status) throws InvalidProtocolBufferException {
    var details = new JsonArray();
    for (Class<? extends Message> type : List.of(BadRequest.class, ErrorInfo.class, RetryInfo.class)) {
      var found = Failure.detail(status, type);
      if (found.isEmpty()) continue;
      JsonObject json = toJson(found.get());
      json.addProperty("@type", "type.googleapis.com/" + found.get().getDescriptorForType().getFullName());
      details.add(json);
    }
    return details;
  }

  /** Returns initial and trailing metadata as one object, without binary entries. Either is null where none came. */
  private static JsonObject merged(Metadata... all) {
    var json = new JsonObject();
    for (Metadata metadata : all) {
      if (metadata == null) continue;
      for (String name : metadata.keys()) {
        if (!name.endsWith(Metadata.BINARY_HEADER_SUFFIX)) json.addProperty(name, metadata.get(key(name)));
      }
    }
    return json;
  }

  private static Metadata.Key<String> key(String name) {
    return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
  }
}
