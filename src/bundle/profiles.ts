export const PROFILE_NAMES = ['default', 'runc', 'umoci', 'containerd', 'docker', 'podman'] as const
export type ProfileName = (typeof PROFILE_NAMES)[number]
