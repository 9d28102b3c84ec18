/** The images of tests: of services and of stages of their Dockerfiles, each built once however many tests need it. */
import type { Steps } from "@kws/base/steps";
import { limiter } from "@kws/base/limiter";
import { buildImages, type ServiceImages } from "../images/build.ts";
import type { ProjectService } from "../project/workspace.ts";
import type { BuiltImage, Provider } from "../providers/provider.ts";
import type { TestSuite } from "./levels.ts";

export interface TestImagesOptions {
  provider: Provider;
  /** The workspace's name. */
  workspace: string;
  cache: string;
  env: NodeJS.ProcessEnv;
  steps: Steps;
  signal: AbortSignal;
  pull?: boolean;
}

export class TestImages {
  readonly #options: TestImagesOptions;
  readonly #limit = limiter(2);
  readonly #built = new Map<string, Promise<ServiceImages>>();
  /** Builds of one service take turns: they prepare the same folder. */
  readonly #last = new Map<string, Promise<unknown>>();

  constructor(options: TestImagesOptions) {
    this.#options = options;
  }

  /** A service's own images. */
  ofService(service: ProjectService): Promise<ServiceImages> {
    return this.#build(service, "");
  }

  /** The image of a service that has one, as a pod names it. */
  async single(service: ProjectService): Promise<string> {
    return firstOf(await this.ofService(service));
  }

  /** The one that a suite runs in, as a pod names it. */
  async ofSuite({ service, config }: TestSuite): Promise<string> {
    const { build, images = {} } = service.config;
    const { image, target } = config;
    if (image !== undefined && !(image in images)) return image;
    if (build !== undefined) {
      if (target === undefined) return this.single(service);
      const staged = { ...service.config, build: { ...build, target } };
      return firstOf(await this.#build({ ...service, config: staged }, target));
    }
    const key = image ?? Object.keys(images)[0] ?? "";
    const one = { ...images[key], ...(target === undefined ? {} : { target }) };
    return firstOf(
      await this.#build(
        { ...service, config: { ...service.config, images: { [key]: one } } },
        `${key} ${target}`,
      ),
    );
  }

  #build(service: ProjectService, variant: string): Promise<ServiceImages> {
    const key = `${service.name} ${variant}`;
    const known = this.#built.get(key);
    if (known !== undefined) return known;
    const before = this.#last.get(service.name) ?? Promise.resolve();
    const built = before.then(() => this.#limit(() => this.#run(service, variant)));
    this.#built.set(key, built);
    this.#last.set(
      service.name,
      built.catch(() => undefined),
    );
    return built;
  }

  #run(service: ProjectService, variant: string): Promise<ServiceImages> {
    const { provider, workspace, cache, env, signal, steps, pull } = this.#options;
    const title = variant === "" ? `build ${service.name}` : `build ${service.name} for tests`;
    return steps.run({ id: `build ${service.name} ${variant}`, title }, async (step) => {
      signal.throwIfAborted();
      const result = await buildImages(service, provider, workspace, {
        cache,
        env,
        signal,
        onProgress: (text) => step.detail(text),
        onWarning: (text) => step.note(text),
        ...(pull === undefined ? {} : { pull }),
        ...(variant === "" ? {} : { tag: "test" }),
      });
      if (result.cached) step.skip("unchanged");
      return result;
    });
  }
}

function firstOf({ images }: ServiceImages): string {
  const [image] = images;
  if (image === undefined) throw new Error("a service that was built has no image");
  return referenceOf(image);
}

/** Both forms are the content's own, which no other has. */
function referenceOf({ repository, tag, digest, byTag }: BuiltImage): string {
  return byTag === true ? `${repository}:${tag}` : `${repository}@${digest}`;
}
