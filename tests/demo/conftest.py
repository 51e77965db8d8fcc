from cases.demo_scenes import scenes_painted_once

__all__ = ["scenes_painted_once"]
